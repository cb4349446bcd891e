# Any GPU that no vendor's file knows.
level = class
match.type = gpu

vector_width = 1                    # each lane of a GPU runs a scalar work-item of its own
num_partials = 64                   # bounds the parallelism of the reverse solve; each costs a table to clear and to add
group_size = 64                     # one sample a work-group for larger systems: a full wavefront of the widest devices
