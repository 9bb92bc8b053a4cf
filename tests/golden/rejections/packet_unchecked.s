; a byte of the packet without a test of its length
.type XDP
r2 = *(u32 *)(r1 + 0)
r0 = *(u8 *)(r2 + 20)     ; error: E1103
exit
