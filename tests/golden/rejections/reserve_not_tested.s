; the result of a reservation is written without a test
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
*(u64 *)(r0 + 0) = 1      ; error: E1101
r1 = r0
r2 = 0
call ringbuf_submit
r0 = 0
exit
