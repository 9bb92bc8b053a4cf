; sixteen bytes into a buffer of eight
r3 = r10
r3 += -8
r2 = 0
r4 = 16
call skb_load_bytes       ; error: E1112
r0 = 0
exit
