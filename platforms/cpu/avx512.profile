# CPUs whose driver reports native vectors of 16 floats.
level = architecture
match.type = cpu
match.min_native_width = 16

vector_width = 16                   # fills an AVX-512 register
