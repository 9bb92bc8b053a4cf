; a reservation is submitted without a test
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
r1 = r0
r2 = 0
call ringbuf_submit       ; error: E1101
r0 = 0
exit
