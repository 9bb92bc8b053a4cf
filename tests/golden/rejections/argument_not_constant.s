; the size of a record must be constant
.map events RINGBUF 0 0 4096
r2 = *(u32 *)(r1 + 0)
r1 = map events
r3 = 0
call ringbuf_reserve      ; error: E1111
r0 = 0
exit
