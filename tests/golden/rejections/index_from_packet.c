// An index from the packet into an array in a map, in C.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct table {
	u64 entry[8];
};

struct {
	int (*type)[2];
	int (*max_entries)[1];
	u32 *key;
	struct table *value;
} tables __attribute__((section(".maps"), used));

static void *(*lookup)(void *map, const void *key) = (void *)1;

__attribute__((section("xdp"), used)) int index_from_packet(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;
	u8 *end = (u8 *)(long)ctx->data_end;
	u32 zero = 0;

	if (data + 14 > end)
		return 2;
	struct table *table = lookup(&tables, &zero);
	if (!table)
		return 2;
	return table->entry[data[12]]; // error: E1104
}

char _license[] __attribute__((section("license"), used)) = "GPL";
