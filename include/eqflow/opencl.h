/* eqflow with a program's own OpenCL objects: a context on its queue, results in its buffers. Only this header needs
 * the headers of OpenCL, so eqflow/eqflow.h does not include it. */
#ifndef EQFLOW_OPENCL_H
#define EQFLOW_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include "eqflow/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Used in place of eqf_context_open_device: ctx works with the program's objects, which it retains until it is
 * destroyed. queue: an in-order queue of this context and device; all work of ctx is enqueued there, and calls that
 * give host arrays wait for it. NULL: ctx makes its own queue. Errors: INVALID_ARGUMENT (a device is already open, or
 * the objects do not belong together), UNSUPPORTED (an out-of-order queue), those of eqf_context_open_device. */
eqf_status eqf_context_open_opencl(eqf_context *ctx, cl_context context, cl_device_id device, cl_command_queue queue);

/* The objects of the open device (opens the default one if none is); each may be NULL. ctx still owns them:
 * retain an object that must outlive ctx. */
eqf_status eqf_context_opencl(eqf_context *ctx, cl_context *context_out, cl_device_id *device_out,
                              cl_command_queue *queue_out);

/* eqf_flow_sample with results in buffers of the context's cl_context: x [.., N, D] and log_prob [..] or NULL, of
 * float, or of double for a flow of EQF_PRECISION_DOUBLE; the first sample goes to index `offset` (in samples) of both.
 * The work is enqueued in order, and the call does not wait for it unless the library needs results itself (the first
 * check of a program, dopri5). Commands that are enqueued later see the results. Errors: INVALID_ARGUMENT (of another
 * context, too small), those of eqf_flow_sample. */
eqf_status eqf_flow_sample_opencl(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples, cl_mem x,
                                  cl_mem log_prob, size_t offset);

/* eqf_flow_log_prob_part in the same way: x [.., N, D] is read from index `offset` (in samples) on; log_prob [..] and z
 * [.., N, D] or NULL are written from there on. z may be x. */
eqf_status eqf_flow_log_prob_opencl(eqf_flow *flow, uint64_t first, size_t batch_size, cl_mem x, cl_mem log_prob,
                                    cl_mem z, size_t offset);

#ifdef __cplusplus
}
#endif
#endif
