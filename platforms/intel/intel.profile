# Intel GPUs: NEO (intel-opencl-icd) and rusticl's iris. 0x8086: PCI vendor id, which OpenCL 3.0 asks for
# (https://registry.khronos.org/OpenCL/sdk/3.0/docs/man/html/clGetDeviceInfo.html, CL_DEVICE_VENDOR_ID).
level = vendor
match.type = gpu
match.vendor_id = 0x8086

launch_iterations = 262144          # the kernel driver resets the GPU after seconds of one job (issue hang-check); an estimate:
    # 24 rounds of a small GPU at 50 ns a turn make 0.3 s. Not measured.
private_numbers = 24                # a work-item has 64 registers at 16 lanes: quenches of lj13 had 1.2 KB of scratch
group_size = 32                     # two sub-groups of 16; not measured

issue.hang-check = work that keeps the GPU busy for seconds is killed: CL_OUT_OF_RESOURCES at the next wait
issue.hang-check.guard = cli.faults
issue.hang-check.source = https://github.com/intel/compute-runtime/issues/904
