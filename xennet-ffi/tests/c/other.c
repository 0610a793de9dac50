/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A second translation unit that includes the header: it defines nothing twice.
 */
#include <xennet.h>

#ifdef __cplusplus
extern "C"
#endif
size_t other_unit(void);

size_t other_unit(void)
{
    return XENNET_TEXT_MAX;
}
