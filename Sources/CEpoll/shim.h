// Linux's readiness notification, which Glibc's module leaves out.
#pragma once
#include <sys/epoll.h>
#include <sys/eventfd.h>
