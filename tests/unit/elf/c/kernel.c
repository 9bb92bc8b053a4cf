#include "prelude.h"

#define relocatable __attribute__((preserve_access_index))

struct sk_buff {
	u32 len;
	u32 mark;
} relocatable;

struct iphdr {
	u8 tos;
	struct {
		u8 x;
		u8 y[4];
	} inside;
} relocatable;

extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern _Bool CONFIG_BPF_JIT __attribute__((section(".kconfig"))) weak;
extern const void init_task __attribute__((section(".ksyms"))) weak;
extern int bpf_strcmp(const char *s1__ign, const char *s2__ign) __attribute__((section(".ksyms"))) weak;

SEC("raw_tp/kfree_skb") int fields(u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	struct iphdr *other = (void *)ctx[1];
	u64 far = 0;

	asm volatile("" : "+r"(far));
	far += (u64)__builtin_preserve_access_index(&skb->len);
	if (CONFIG_BPF_JIT && LINUX_KERNEL_VERSION > 5)
		far += (u64)&init_task;
	else if (!LINUX_KERNEL_VERSION)
		far += (u64)__builtin_preserve_access_index(&other->inside.y[2]);
	return far + __builtin_preserve_field_info(skb->mark, 2);
}

SEC("tc") int compare(void *ctx)
{
	return bpf_strcmp("x", "y");
}
