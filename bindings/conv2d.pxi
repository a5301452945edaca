# conv2d.pxi - the conv2d family: fastcnn.h's entry points as Python functions.
