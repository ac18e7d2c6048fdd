/// Nothing to call: the library is preloaded under a program (see LossyDisk.c).
