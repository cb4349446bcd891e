# Intel's OpenCL runtime for CPUs (also of other makers).
level = driver
match.type = cpu
match.platform = Intel(R) OpenCL

issue.butterfly = updates of pairs of private doubles around a work-group barrier give wrong values when optimised
issue.butterfly.versions = 2026..
issue.butterfly.guard = flow.double
issue.butterfly.source = https://github.com/intel/llvm/issues/23220
