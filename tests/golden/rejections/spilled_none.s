; a value that may be None goes through the stack and a function
.map counts HASH 4 8 16
*(u32 *)(r10 - 4) = 0
r2 = r10
r2 += -4
r1 = map counts
call map_lookup_elem
*(u64 *)(r10 - 16) = r0
r6 = 3
r1 = *(u64 *)(r10 - 16)
call function look
exit
.function look static
r0 = *(u64 *)(r1 + 0)     ; error: E1101
exit
