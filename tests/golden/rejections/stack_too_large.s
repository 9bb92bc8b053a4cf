; two frames need more than 512 bytes together
*(u64 *)(r10 - 400) = 0   ; error: E1107
call function deep
r0 = 0
exit
.function deep static
*(u64 *)(r10 - 400) = 0
r0 = 0
exit
