/* XDP: every packet passes. */
#include "packet_headers.h"

SEC("xdp")
int xdp_minimal(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
