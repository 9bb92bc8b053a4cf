; a number is used as an address
r2 = 4096
r0 = *(u64 *)(r2 + 0)     ; error: E1102
exit
