# RDNA GPUs: wavefronts of 32 (CL_DEVICE_WAVEFRONT_WIDTH_AMD of cl_amd_device_attribute_query).
level = architecture
match.type = gpu
match.vendor_id = 0x1002
match.wavefront_width = 32

group_size = 32                     # one wavefront: no barrier between waves; not measured
