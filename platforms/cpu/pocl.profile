# The Portable Computing Language on CPUs. Tuned by measurement on 3.1 (LLVM 14); see docs/benchmarks.md.
level = driver
match.type = cpu
match.platform = Portable Computing Language

issue.late-build = a kernel is finished at its first launch, not by the build
issue.late-build.guard = cli.cache
issue.late-build.source = src/program/program.c: binaries are taken when the context ends
issue.gathers = arrays of vector lanes indexed at run time become gathers
issue.gathers.versions = ..3.1
issue.gathers.guard = dynamics.radial
issue.gathers.source = measured; a rule of cl/README.md
issue.vendor-id = CL_DEVICE_VENDOR_ID is that of the PCI root bus, 0x8086 on this AMD EPYC: for CPUs it says nothing
issue.vendor-id.guard = device.profile
issue.vendor-id.source = https://github.com/pocl/pocl/pull/886
