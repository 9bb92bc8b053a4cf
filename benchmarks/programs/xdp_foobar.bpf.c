/* XDP: drops packets with the word "foobar" in their first bytes. */
#include "packet_headers.h"

#define POSITIONS 128
#define WORD "foobar"
#define LENGTH (sizeof(WORD) - 1)

SEC("xdp")
int xdp_foobar(struct xdp_md *ctx)
{
	void *end = END(ctx);
	char *at = BEGIN(ctx);

	for (int i = 0; i < POSITIONS; i++) {
		char *here = at + i;

		if ((void *)(here + LENGTH) > end)
			return XDP_PASS;
		if (!__builtin_memcmp(here, WORD, LENGTH))
			return XDP_DROP;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
