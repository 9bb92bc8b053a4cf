; what is submitted is not what was reserved
.map events RINGBUF 0 0 4096
r1 = map events
r2 = 16
r3 = 0
call ringbuf_reserve
if r0 == 0 goto +4
r1 = r0
r1 += 8
r2 = 0
call ringbuf_submit       ; error: E1117
r0 = 0
exit
