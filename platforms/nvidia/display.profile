# NVIDIA GPUs that drive a display: kernels of a few seconds are killed. The driver says so itself
# (CL_DEVICE_KERNEL_EXEC_TIMEOUT_NV of cl_nv_device_attribute_query).
level = architecture
match.type = gpu
match.vendor_id = 0x10de
match.has_kernel_timeout = yes

launch_iterations = 262144          # below the limit of about 5 s; the same estimate as platforms/intel/intel.profile

issue.timeout = a kernel may take about 5 seconds
issue.timeout.guard = cli.faults
issue.timeout.source = https://github.com/XMPPwocky/nodebeefcl/issues/1
