# linear.pxi - the linear family: fastcnn.h's entry points as Python functions.
