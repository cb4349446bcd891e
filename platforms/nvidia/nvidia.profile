# NVIDIA GPUs. 0x10de: PCI vendor id.
level = vendor
match.type = gpu
match.vendor_id = 0x10de

group_size = 64                     # two warps of 32; not measured

issue.out-of-resources = a kernel that was killed or read outside its memory shows as CL_OUT_OF_RESOURCES at the next read
issue.out-of-resources.guard = cli.faults
issue.out-of-resources.source = https://github.com/SystemsGenetics/KINC/issues/32
