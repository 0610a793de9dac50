/*
 * What a hotplug call costs at the least: a static C program that sends the changing netlink messages of `xennet` as vif-bridge,
 * and holds the same conversation with xenstore, without looking, planning, writing down or verifying anything.
 *
 *   floor online|offline [reading]   with vif=vif5.0, XENBUS_PATH=backend/vif/5/0, XENSTORED_PATH=SOCKET in the environment
 *
 * online:  nine nodes of the vif are read in one round trip; one nftables transaction adds the guard's elements; two messages
 *          make the vif a port and bring it up; the guest's MTU and hotplug-status are written.
 * offline: one message takes the vif off and down, one nftables transaction removes the elements; the socket is closed by a
 *          copy of the process, as xennet does.
 *
 * With `reading` it sends also what xennet reads from the kernel before and after: all of xennet's netlink messages.
 *
 * The guard's table must exist. Built with: cc -O2 -static -o floor floor.c
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char buffer[65536];
static size_t fill;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *put(const void *data, size_t bytes)
{
	void *at = buffer + fill;

	memset(at, 0, NLMSG_ALIGN(bytes));
	if (data)
		memcpy(at, data, bytes);
	fill += NLMSG_ALIGN(bytes);
	return at;
}

static struct nlattr *attribute(unsigned kind, const void *data, size_t bytes)
{
	struct nlattr head = { .nla_len = NLA_HDRLEN + bytes, .nla_type = kind };
	struct nlattr *at = put(&head, sizeof(head));

	put(data, bytes);
	return at;
}

static struct nlattr *nest(unsigned kind)
{
	return attribute(kind | NLA_F_NESTED, NULL, 0);
}

static void close_nest(struct nlattr *at)
{
	at->nla_len = buffer + fill - (char *)at;
}

static void text(unsigned kind, const char *value)
{
	attribute(kind, value, strlen(value) + 1);
}

static struct nlmsghdr *message(unsigned kind, unsigned flags)
{
	static uint32_t seq;
	struct nlmsghdr head = { .nlmsg_type = kind, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = ++seq };

	return put(&head, sizeof(head));
}

static void close_message(struct nlmsghdr *at)
{
	at->nlmsg_len = buffer + fill - (char *)at;
}

static int netlink(int protocol)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (s < 0 || bind(s, (struct sockaddr *)&kernel, sizeof(kernel)) || connect(s, (struct sockaddr *)&kernel, sizeof(kernel)))
		fail("netlink");
	return s;
}

/* Sends what was put together and reads the one answer. */
static void transact(int s, const char *what)
{
	static char answer[32768];
	struct nlmsghdr *head = (struct nlmsghdr *)answer;

	if (send(s, buffer, fill, 0) != (ssize_t)fill)
		fail(what);
	fill = 0;
	if (recv(s, answer, sizeof(answer), 0) < (ssize_t)sizeof(*head))
		fail(what);
	errno = head->nlmsg_type == NLMSG_ERROR ? -((struct nlmsgerr *)NLMSG_DATA(head))->error : EPROTO;
	if (errno)
		fail(what);
}

/* Sends a question and reads its answer, which may be that there is no such thing. */
static void question(int s, struct nlmsghdr *at)
{
	static char answer[32768];
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	int lists;

	close_message(at);
	lists = (at->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	if (send(s, buffer, fill, 0) != (ssize_t)fill)
		fail("a question");
	fill = 0;
	do {
		if (recv(s, answer, sizeof(answer), 0) < (ssize_t)sizeof(struct nlmsghdr))
			fail("an answer");
	} while (lists && head->nlmsg_type != NLMSG_DONE && head->nlmsg_type != NLMSG_ERROR);
}

/* ---- the guard */

static struct nlmsghdr *nft_message(unsigned kind, unsigned flags, unsigned family)
{
	struct nlmsghdr *at = message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags);
	struct nfgenmsg head = { .nfgen_family = family };

	put(&head, sizeof(head));
	return at;
}

/* A chain or a set of the guard's table. */
static void read_named(int s, unsigned kind, unsigned attribute_of_name, const char *name)
{
	struct nlmsghdr *at = nft_message(kind, 0, NFPROTO_BRIDGE);

	text(NFTA_CHAIN_TABLE, "xennet-guard");
	text(attribute_of_name, name);
	question(s, at);
}

static void read_generation(int s)
{
	question(s, nft_message(NFT_MSG_GETGEN, 0, AF_UNSPEC));
}

static void batch_end(unsigned kind)
{
	struct nlmsghdr *at = message(kind, 0);
	struct nfgenmsg family = { .nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	put(&family, sizeof(family));
	close_message(at);
}

enum { ADD, REMOVE, READ };

/* The key of one element. */
static struct nlmsghdr *element_message(unsigned kind, unsigned flags, const char *set, const void *key, size_t bytes)
{
	struct nlmsghdr *at = nft_message(kind, flags, NFPROTO_BRIDGE);
	struct nlattr *list, *one, *value;

	text(NFTA_SET_ELEM_LIST_TABLE, "xennet-guard");
	text(NFTA_SET_ELEM_LIST_SET, set);
	list = nest(NFTA_SET_ELEM_LIST_ELEMENTS);
	one = nest(1);
	value = nest(NFTA_SET_ELEM_KEY);
	attribute(NFTA_DATA_VALUE, key, bytes);
	close_nest(value);
	close_nest(one);
	close_nest(list);
	close_message(at);
	return at;
}

/* One element: the name of the link, then what else belongs to the key, each in whole words. */
static void element(int s, int what, const char *set, const char *link, const void *rest, size_t bytes, int last)
{
	static const unsigned kinds[] = { NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM };
	unsigned flags = (what == ADD ? NLM_F_CREATE | NLM_F_EXCL : 0) | (what != READ && last ? NLM_F_ACK : 0);
	char key[64] = { 0 };

	memcpy(key, link, strlen(link));
	memcpy(key + IFNAMSIZ, rest, bytes);
	struct nlmsghdr *at = element_message(kinds[what], flags, set, key, IFNAMSIZ + bytes);
	if (what == READ)
		question(s, at);
}

static void guard(int s, int what, const char *link, const unsigned char mac[6], struct in_addr ip)
{
	unsigned char rest[24] = { 0 };

	memcpy(rest, mac, 6);
	if (what != READ)
		batch_end(NFNL_MSG_BATCH_BEGIN);
	element(s, what, "declared", link, NULL, 0, 0);
	element(s, what, "macs", link, rest, 8, 0);
	memcpy(rest + 8, &ip, 4);
	element(s, what, "host4", link, rest, 12, 0);
	unsigned char own[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };
	memcpy(rest + 8, own, 16);
	element(s, what, "host6", link, rest, 24, 1);
	if (what == READ)
		return;
	batch_end(NFNL_MSG_BATCH_END);
	transact(s, "nftables");
}

/* The flags of the guard's table. */
static void read_table(int s)
{
	struct nlmsghdr *at = nft_message(NFT_MSG_GETTABLE, 0, NFPROTO_BRIDGE);

	text(NFTA_TABLE_NAME, "xennet-guard");
	question(s, at);
}

/* Whether anything is known of a vif that comes: there may have been one of its name. */
static void read_leftovers(int s, const char *vif)
{
	element(s, READ, "declared", vif, NULL, 0, 0);
	element(s, READ, "bound", vif, NULL, 0, 0);
	read_named(s, NFT_MSG_GETSET, NFTA_SET_NAME, "declared");
	read_named(s, NFT_MSG_GETSET, NFTA_SET_NAME, "bound");
	read_table(s);
}

/* The chains of other tables, which may drop what the guest sends. */
static void read_others(int s)
{
	static const unsigned families[] = { NFPROTO_BRIDGE, NFPROTO_INET, NFPROTO_IPV4 };

	for (int i = 0; i < 3; i++)
		question(s, nft_message(NFT_MSG_GETCHAIN, NLM_F_DUMP, families[i]));
}

/* The guard's rules are told by how often their chains are used, and by a version of them in a set. */
static void read_rules(int s)
{
	static const char *const chains[] = { "advertised", "bound", "claims", "datagrams", "declared", "messages", "prerouting",
					      "probing", "to-all", "to-one" };
	uint32_t version = 218575353; /* that in tables/guard.rs; another one costs the same */

	read_table(s);
	for (int i = 0; i < 10; i++)
		read_named(s, NFT_MSG_GETCHAIN, NFTA_CHAIN_NAME, chains[i]);
	question(s, element_message(NFT_MSG_GETSETELEM, 0, "version", &version, sizeof(version)));
}

static void read_sets(int s)
{
	static const char *const sets[] = { "declared", "host4", "host6", "macs" };

	for (int i = 0; i < 4; i++)
		read_named(s, NFT_MSG_GETSET, NFTA_SET_NAME, sets[i]);
}

/* ---- the link */

static struct nlmsghdr *link_message(unsigned kind, unsigned index, unsigned flags, unsigned change)
{
	struct nlmsghdr *at = message(kind, NLM_F_ACK);
	struct ifinfomsg info = { .ifi_index = index, .ifi_flags = flags, .ifi_change = change };

	put(&info, sizeof(info));
	return at;
}

static void plug(int s, unsigned index, unsigned bridge)
{
	static const unsigned char backend[6] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned char none = 1; /* IN6_ADDR_GEN_MODE_NONE */
	struct nlmsghdr *at = link_message(RTM_SETLINK, index, 0, 0);
	struct nlattr *families, *inet6;

	attribute(IFLA_ADDRESS, backend, sizeof(backend));
	attribute(IFLA_MASTER, &bridge, sizeof(bridge));
	families = nest(IFLA_AF_SPEC);
	inet6 = nest(AF_INET6);
	attribute(IFLA_INET6_ADDR_GEN_MODE, &none, 1);
	close_nest(inet6);
	close_nest(families);
	close_message(at);
	transact(s, "the port");
	at = link_message(RTM_SETLINK, index, IFF_UP, IFF_UP);
	close_message(at);
	transact(s, "up");
}

static void unplug(int s, unsigned index)
{
	unsigned none = 0;
	struct nlmsghdr *at = link_message(RTM_SETLINK, index, 0, IFF_UP);

	attribute(IFLA_MASTER, &none, sizeof(none));
	close_message(at);
	transact(s, "off the bridge");
}

/* By its index, or by its name. */
static void read_link(int s, unsigned index, const char *name)
{
	struct nlmsghdr *at = message(RTM_GETLINK, 0);
	struct ifinfomsg info = { .ifi_index = index };
	uint32_t without_statistics = RTEXT_FILTER_SKIP_STATS;

	put(&info, sizeof(info));
	if (name)
		text(IFLA_IFNAME, name);
	attribute(IFLA_EXT_MASK, &without_statistics, sizeof(without_statistics));
	question(s, at);
}

static void read_addresses(int s, unsigned index)
{
	struct nlmsghdr *at = message(RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg info = { .ifa_index = index };

	put(&info, sizeof(info));
	question(s, at);
}

/* ---- xenstore */

struct header {
	uint32_t type, request, transaction, bytes;
};

static int store;
static uint32_t asked;

static void ask(uint32_t type, const char *path, const char *value)
{
	size_t path_bytes = strlen(path) + 1, value_bytes = value ? strlen(value) : 0;
	struct header head = { type, ++asked, 0, path_bytes + value_bytes };

	memcpy(buffer + fill, &head, sizeof(head));
	memcpy(buffer + fill + sizeof(head), path, path_bytes);
	memcpy(buffer + fill + sizeof(head) + path_bytes, value, value_bytes);
	fill += sizeof(head) + path_bytes + value_bytes;
}

/* Sends what was asked and reads as many answers; the value of each goes into a slot. */
static void converse(int answers, char slots[][256])
{
	static char input[65536];
	size_t have = 0, at = 0;

	if (send(store, buffer, fill, MSG_NOSIGNAL) != (ssize_t)fill)
		fail("xenstore");
	fill = 0;
	for (int n = 0; n < answers;) {
		struct header head;

		if (have - at >= sizeof(head)) {
			memcpy(&head, input + at, sizeof(head));
			if (have - at >= sizeof(head) + head.bytes) {
				if (slots && head.type == 2)
					memcpy(slots[n], input + at + sizeof(head), head.bytes < 255 ? head.bytes : 255);
				at += sizeof(head) + head.bytes;
				n++;
				continue;
			}
		}
		ssize_t got = recv(store, input + have, sizeof(input) - have, 0);
		if (got <= 0)
			fail("xenstore");
		have += got;
	}
}

int main(int argc, char **argv)
{
	static const char *const nodes[] = { "bridge", "ip", "mac", "vifname", "mtu", "vlan", "isolated", "type", "hotplug-error" };
	static char values[9][256];
	const char *vif = getenv("vif"), *base = getenv("XENBUS_PATH"), *path = getenv("XENSTORED_PATH");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[512];
	unsigned char mac[6];
	struct in_addr ip;
	int route, nft, ends[2];

	if (argc < 2 || !vif || !base || !path)
		return 2;
	int online = !strcmp(argv[1], "online");
	int reading = argc > 2 && !strcmp(argv[2], "reading");
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	store = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(store, (struct sockaddr *)&address, sizeof(address)))
		fail(path);
	for (int i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "%s/%s", base, nodes[i]);
		ask(2, name, NULL);
	}
	converse(9, values);
	if (sscanf(values[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6 ||
	    inet_pton(AF_INET, values[1], &ip) != 1)
		return 3;
	route = netlink(NETLINK_ROUTE);
	nft = netlink(NETLINK_NETFILTER);
	unsigned index = if_nametoindex(vif);
	if (online) {
		if (reading) {
			int strict = 1;

			/* The kernel lists the addresses of one link, not of all. */
			setsockopt(route, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict, sizeof(strict));
			read_leftovers(nft, vif);
			read_link(route, index, NULL);
			read_link(route, 0, vif);
			read_link(route, 0, values[0]);
			read_addresses(route, index);
			read_rules(nft);
			guard(nft, READ, vif, mac, ip);
			read_others(nft);
		}
		guard(nft, ADD, vif, mac, ip);
		plug(route, index, if_nametoindex(values[0]));
		if (reading) {
			read_link(route, 0, vif);
			read_link(route, 0, values[0]);
			read_addresses(route, index);
			guard(nft, READ, vif, mac, ip);
		}
		unsigned domid = 0, devid = 0;
		sscanf(vif, "vif%u.%u", &domid, &devid);
		snprintf(name, sizeof(name), "/local/domain/%u/device/vif/%u/mtu", domid, devid);
		ask(11, name, "1500");
		converse(1, NULL);
		snprintf(name, sizeof(name), "%s/hotplug-status", base);
		ask(11, name, "connected");
		converse(1, NULL);
		return 0;
	}
	if (reading) {
		int strict = 1, other = netlink(NETLINK_NETFILTER);

		setsockopt(route, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict, sizeof(strict));
		read_link(route, index, NULL);
		read_link(route, 0, vif);
		read_addresses(route, index);
		guard(nft, READ, vif, mac, ip);
		read_link(route, 0, values[0]);
		read_generation(other);
		close(other);
	}
	unplug(route, index);
	if (reading) {
		read_generation(nft);
		read_sets(nft);
	}
	guard(nft, REMOVE, vif, mac, ip);
	if (reading) {
		read_link(route, 0, vif);
		read_addresses(route, index);
		guard(nft, READ, vif, mac, ip);
		read_named(nft, NFT_MSG_GETSET, NFTA_SET_NAME, "declared");
	}
	if (pipe(ends) == 0 && fork() == 0) {
		for (int standard = 0; standard < 3; standard++)
			close(standard);
		close(ends[1]);
		_exit(read(ends[0], name, 1) != 0);
	}
	return 0;
}
