// The value of a key is used without a test, in C.
typedef unsigned int u32;
typedef unsigned long long u64;

struct {
	int (*type)[1];
	int (*max_entries)[16];
	u32 *key;
	u64 *value;
} counts __attribute__((section(".maps"), used));

static void *(*lookup)(void *map, const void *key) = (void *)1;

__attribute__((section("socket"), used)) int lookup_not_tested(void *skb)
{
	u32 key = 6;
	u64 *count = lookup(&counts, &key);

	*count += 1; // error: E1101
	return 0;
}

char _license[] __attribute__((section("license"), used)) = "GPL";
