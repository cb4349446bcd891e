# AMD GPUs: ROCm and rusticl's radeonsi. 0x1002: PCI vendor id.
level = vendor
match.type = gpu
match.vendor_id = 0x1002

group_size = 64                     # one wavefront of GCN and CDNA, two of RDNA

issue.group-limit = CL_DEVICE_MAX_WORK_GROUP_SIZE is 256 although dimensions of 1024 are reported
issue.group-limit.guard = device.profile
issue.group-limit.source = https://github.com/ROCm/legacy-rocm-build/issues/1388
