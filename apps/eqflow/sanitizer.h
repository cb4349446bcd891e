/* HAS_SANITIZER: the program is compiled with AddressSanitizer or ThreadSanitizer, which replace functions of the C
 * library themselves. */
#ifndef SANITIZER_H
#define SANITIZER_H

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HAS_SANITIZER
#endif

#endif
