/* files.S: the old model and the bundle as bytes of the image; on a device, both lie in flash.
 * SPDX-License-Identifier: Apache-2.0 */
        .syntax unified
        .section .rodata.files, "a"
        .balign 4
        .global bundle_begin, bundle_end, old_begin, old_end
bundle_begin:
        .incbin BUNDLE
bundle_end:
        .balign 4
old_begin:
        .incbin OLD
old_end:
