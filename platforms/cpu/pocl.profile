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
issue.unknown-cpu = no kernel builds ("unknown target CPU 'generic'") on a CPU newer than its LLVM, as on Zen 5 with LLVM 14; Debian's PoCL is patched
issue.unknown-cpu.versions = ..3.0
issue.unknown-cpu.guard = portability.tiny
issue.unknown-cpu.source = https://github.com/pocl/pocl/issues/1049, mended by https://github.com/pocl/pocl/pull/1268
issue.tiny-groups = work-groups of 1 and 2 with barriers in loops abort the process while a kernel is finished ("dominating alternative variable")
issue.tiny-groups.versions = ..3.1
issue.tiny-groups.guard = integrator.group
issue.tiny-groups.source = measured; src/integrator/rk4.c takes groups of 3 and more
issue.condition-before-barrier = in a loop, what work-items do under a condition that differs within the group just before a barrier may be lost
issue.condition-before-barrier.versions = ..3.1
issue.condition-before-barrier.guard = integrator.group
issue.condition-before-barrier.source = measured: gradients wrong by 1e-2 to 1 for some group sizes; cl/dynamics/radial_group.clh notes without a condition
