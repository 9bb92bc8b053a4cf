; arithmetic on a map
.map counts HASH 4 8 16
r1 = map counts
r1 += 8                   ; error: E1108
r0 = *(u64 *)(r1 + 0)
exit
