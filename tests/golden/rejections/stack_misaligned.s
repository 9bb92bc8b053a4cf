; a pointer is kept at an odd place
*(u64 *)(r10 - 12) = r1   ; error: E1191
r0 = 0
exit
