# Where the chain ends: a value for every key, safe on any device.
level = generic

build_option = -cl-std=CL1.2        # the language of cl/; every current driver has it
    # No flag that loosens arithmetic: the likelihood is certified in float32, and -cl-fast-relaxed-math put log_det off by
    # 0.06 to 0.17 nat (measured, PoCL 3.1).
vector_width = 1                    # a scalar work-item works everywhere
num_partials = 64                   # fixed, not the number of cores: the order of sums, and so the bits, hang on it
max_work_items_per_unit = 0         # no limit: a launch has as many work-items as it has turns
max_work_items_least = 64           # matters only where there is a limit
launch_iterations = 0               # no limit
local_size = 64                     # work-items a group of ordinary kernels: once or twice what runs in step on every current GPU
group_size = 0                      # no kernel with one work-group a sample, unless the class wants it
group_min_particles = 8             # where it does: a state of fewer particles fits the registers of one work-item
group_min_particles_wide = 2        # reverse solves and dopri5 hold up to ten states of a sample: with four particles these fit
    # no work-item's registers (tests/vendors.sh: 0.1 to 1.8 KB of scratch)
group_staging_particles = 40        # from here a stage's 2 N (N-1) lookups outweigh copying its table to local memory
local_memory = yes                  # tables may be staged there
private_numbers = 48                # as in gpu.profile: loops over so many are unrolled, and their arrays are in registers
native_sqrt = no                    # its accuracy is implementation-defined (OpenCL C 1.2, section 6.12.2)
table_cells = 512                   # first resolution of the field's table; doubled until its error is small
last_resort = no                    # auto may choose it
