# pool2d.pxi - the pool2d family: fastcnn.h's entry points as Python functions.
