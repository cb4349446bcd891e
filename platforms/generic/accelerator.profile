# Accelerators that are neither CPU nor GPU: nothing is known of them but that kernels run.
level = class
match.type = accelerator

vector_width = 1                    # whatever the hardware is, its compiler is the one who knows
