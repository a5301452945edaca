# optim.pxi - the optim family: fastcnn.h's entry points as Python functions.
