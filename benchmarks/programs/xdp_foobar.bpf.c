/* XDP: drops packets with the word "foobar" in their first bytes. */
#include "packet_headers.h"

#define POSITIONS 128
#define LENGTH 6

SEC("xdp")
int xdp_foobar(struct xdp_md *ctx)
{
	void *end = END(ctx);
	__u8 *at = BEGIN(ctx);

	for (int i = 0; i < POSITIONS; i++) {
		__u8 *here = at + i;

		if ((void *)(here + LENGTH) > end)
			break;
		if (here[0] == 'f' && here[1] == 'o' && here[2] == 'o' &&
		    here[3] == 'b' && here[4] == 'a' && here[5] == 'r')
			return XDP_DROP;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
