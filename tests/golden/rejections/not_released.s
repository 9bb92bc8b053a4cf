; a reservation that one way leaves behind
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
if r0 == 0 goto +1
r0 = 1
exit                      ; error: E1116
