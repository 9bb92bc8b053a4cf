; eight bytes below the frame
*(u64 *)(r10 - 520) = 0   ; error: E1106
r0 = 0
exit
