// A header is read through a pointer from before the packet was changed, in C.
typedef unsigned char u8;
typedef unsigned int u32;

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static unsigned long long (*clock)(void) = (void *)5;
static long (*adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;

__attribute__((section("xdp"), used)) int packet_moved(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;
	u8 *end = (u8 *)(long)ctx->data_end;

	if (data + 14 > end)
		return 2;
	adjust_head(ctx, 4);
	if (clock() & 1)
		return 1;
	return data[12]; // error: E1102
}

char _license[] __attribute__((section("license"), used)) = "GPL";
