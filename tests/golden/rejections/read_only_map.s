; constant data is written
.data .rodata 16
r1 = data .rodata
*(u64 *)(r1 + 0) = 1      ; error: E1122
r0 = 0
exit
