"""Naive NumPy twins of every function of `fastcnn.ops`, written as plainly as the formula."""
