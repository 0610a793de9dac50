/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every function and constant of xennet.h, in use and in misuse: with more.c. Silent and 0 if all is well. C99, and C++ as well.
 * The arguments are an empty directory for the state, and the socket of a xenstored.
 */
#include <xennet.h>
#include <xennet.h> /* the include guard */

#include "check.h"

#ifdef __cplusplus
extern "C" {
#endif
size_t other_unit(void);
void test_more(const char *state_dir, const char *store);
#ifdef __cplusplus
}
#endif

static void test_version_and_kinds(void)
{
    char number[48];
    uint32_t kind;

    snprintf(number, sizeof number, "%d.%d.%d", XENNET_VERSION_MAJOR, XENNET_VERSION_MINOR, XENNET_VERSION_PATCH);
    CHECK(same(number, XENNET_VERSION));
    CHECK(same(xennet_version(), XENNET_VERSION));

    CHECK(xennet_kind_slug(XENNET_KIND_NONE) == NULL && xennet_kind_meaning(XENNET_KIND_NONE) == NULL);
    CHECK(same(xennet_kind_slug(XENNET_KIND_BRIDGE_NOT_FOUND), "bridge-not-found"));
    CHECK(same(xennet_kind_meaning(XENNET_KIND_BRIDGE_NOT_FOUND), "the named bridge does not exist"));
    for (kind = 1; xennet_kind_slug(kind) != NULL; kind++)
        CHECK(xennet_kind_meaning(kind) != NULL);
    CHECK(kind > XENNET_KIND_IO);
    CHECK(xennet_kind_slug(UINT32_MAX) == NULL);
}

static void test_null_reads_as_nothing(void)
{
    CHECK(xennet_error_kind(NULL) == XENNET_KIND_NONE);
    CHECK(xennet_error_errno(NULL) == 0);
    CHECK(xennet_error_outcome(NULL) == XENNET_OUTCOME_NONE);
    CHECK(xennet_error_line(NULL) == 0 && xennet_error_column(NULL) == 0);
    CHECK(xennet_error_message(NULL) == NULL && xennet_error_object(NULL) == NULL);
    CHECK(xennet_error_kernel_message(NULL) == NULL && xennet_error_step(NULL) == NULL);
    CHECK(xennet_error_state(NULL) == NULL && xennet_error_hint(NULL) == NULL);
    CHECK(xennet_error_report(NULL) == NULL && xennet_error_json(NULL) == NULL);
    CHECK(xennet_text_data(NULL) == NULL && xennet_text_len(NULL) == 0);
    CHECK(xennet_plan_len(NULL) == 0 && xennet_plan_text(NULL) == NULL && xennet_plan_json(NULL) == NULL);
    xennet_error_free(NULL);
    xennet_text_free(NULL);
    xennet_plan_free(NULL);
    xennet_host_free(NULL);
}

static void test_vif_parse(void)
{
    static const char line[] = "mac=00:16:3e:01:02,bridge=xenbr0";
    static char untouchable;
    xennet_text *const untouched = (xennet_text *)(void *)&untouchable;
    xennet_text *document = NULL;
    xennet_error *error;
    char *large;

    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, TEXT("mac=00:16:3e:01:02:03,bridge=xenbr0"), &document));
    CHECK(strlen(xennet_text_data(document)) == xennet_text_len(document));
    CHECK(has(xennet_text_data(document), "\"bridge\":\"xenbr0\""));
    CHECK(has(xennet_text_data(document), "\"notes\":[]"));
    xennet_text_free(document);

    /* xl swallows unknown keys, which is noted; xm took blanks around the equals sign. */
    accepted(xennet_vif_parse(XENNET_DIALECT_XL, TEXT("bridge=xenbr0,brigde=x"), &document));
    CHECK(!has(xennet_text_data(document), "\"notes\":[]"));
    xennet_text_free(document);
    accepted(xennet_vif_parse(XENNET_DIALECT_XM, TEXT("bridge = xenbr0"), &document));
    CHECK(has(xennet_text_data(document), "\"bridge\":\"xenbr0\""));
    xennet_text_free(document);

    /* The length counts, not the final zero; NULL of length 0 is the empty text. */
    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, "bridge=xenbr0,nonsense", 13, &document));
    xennet_text_free(document);
    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, NULL, 0, &document));
    xennet_text_free(document);

    /* Nothing is written unless all went well. */
    document = untouched;
    error = xennet_vif_parse(XENNET_DIALECT_STRICT, line, sizeof line - 1, &document);
    CHECK(document == untouched);
    CHECK(xennet_error_line(error) == 1 && xennet_error_column(error) == 5);
    CHECK(xennet_error_errno(error) == 0);
    CHECK(xennet_error_kernel_message(error) == NULL && xennet_error_step(error) == NULL);
    CHECK(has(xennet_error_report(error), "\n  1 | mac=00:16:3e:01:02,bridge=xenbr0\n"));
    CHECK(has(xennet_error_json(error), "\"column\":5"));
    refused(error, XENNET_KIND_INVALID, "00:16:3e:01:02");

    refused(xennet_vif_parse(99, TEXT("bridge=xenbr0"), &document), XENNET_KIND_INVALID, "99 is no dialect");
    refused(xennet_vif_parse(0, TEXT("bridge=\xff"), &document), XENNET_KIND_INVALID, "line is not UTF-8: byte 7");
    refused(xennet_vif_parse(0, TEXT("bridge=a\0b"), &document), XENNET_KIND_INVALID, "");
    refused(xennet_vif_parse(0, NULL, 1, &document), XENNET_KIND_INVALID, "line is NULL");
    refused(xennet_vif_parse(0, "x", SIZE_MAX, &document), XENNET_KIND_INVALID, "line is too long");
    refused(xennet_vif_parse(0, TEXT("bridge=xenbr0"), NULL), XENNET_KIND_INVALID, "document is NULL");
    CHECK(document == untouched);

    /* The longest text is read to its end; of a longer one no byte is touched. */
    large = (char *)malloc(XENNET_TEXT_MAX);
    CHECK(large != NULL);
    memset(large, ',', XENNET_TEXT_MAX);
    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, large, XENNET_TEXT_MAX, &document));
    xennet_text_free(document);
    refused(xennet_vif_parse(0, large, (size_t)XENNET_TEXT_MAX + 1, &document), XENNET_KIND_INVALID, "too long");
    free(large);
}

static void test_a_vif_from_plan_to_undo(void)
{
    xennet_host *host = NULL;
    xennet_plan *plan = NULL;
    xennet_text *text = NULL;
    xennet_error *error;

    accepted(xennet_host_new_fake(&host));

    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    CHECK(xennet_plan_len(plan) > 0);
    CHECK(has(xennet_plan_text(plan), "vif5.0") && has(xennet_plan_text(plan), "xenbr0"));
    CHECK(has(xennet_plan_json(plan), "\"steps\":[{"));
    xennet_plan_free(plan);
    accepted(xennet_host_show(host, &text));
    CHECK(has(xennet_text_data(text), "\"vifs\":[]")); /* a plan changes nothing */
    xennet_text_free(text);

    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), &text));
    CHECK(has(xennet_text_data(text), "\"steps\":"));
    xennet_text_free(text);
    accepted(xennet_host_show(host, &text));
    CHECK(has(xennet_text_data(text), "\"vif\":\"vif5.0\""));
    xennet_text_free(text);
    accepted(xennet_host_violations(host, &text));
    CHECK(has(xennet_text_data(text), "\"violations\":[]"));
    xennet_text_free(text);
    accepted(xennet_host_overview(host, &text));
    CHECK(has(xennet_text_data(text), "\"vif\":\"vif5.0\"") && has(xennet_text_data(text), "\"hubs\":["));
    xennet_text_free(text);
    accepted(xennet_host_picture(host, TEXT("text"), &text));
    CHECK(has(xennet_text_data(text), "xenbr0: bridge") && has(xennet_text_data(text), "vif5.0"));
    xennet_text_free(text);
    accepted(xennet_host_picture(host, TEXT("svg"), &text));
    CHECK(has(xennet_text_data(text), "<svg xmlns=") && has(xennet_text_data(text), "vif5.0"));
    xennet_text_free(text);

    /* Again: nothing to do. As a document: the same. */
    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    CHECK(xennet_plan_len(plan) == 0 && same(xennet_plan_text(plan), "nothing to do"));
    xennet_plan_free(plan);
    accepted(xennet_host_attach(host, 5, TEXT("{\"bridge\": \"xenbr0\"}"), &text));
    CHECK(has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);

    accepted(xennet_host_plan_undo(host, TEXT("vif5.0"), &plan));
    CHECK(xennet_plan_len(plan) > 0 && has(xennet_plan_text(plan), "vif5.0"));
    xennet_plan_free(plan);
    accepted(xennet_host_undo(host, TEXT("vif5.0"), NULL));
    accepted(xennet_host_show(host, &text));
    CHECK(has(xennet_text_data(text), "\"vifs\":[]"));
    xennet_text_free(text);
    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL));
    accepted(xennet_host_undo(host, NULL, 0, &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);

    /* The plan of undoing whatever was changed last names what that is. */
    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL));
    accepted(xennet_host_plan_undo(host, NULL, 0, &plan));
    CHECK(has(xennet_plan_json(plan), "\"undo\":") && has(xennet_plan_text(plan), "vif5.0"));
    accepted(xennet_host_apply(host, plan, NULL));
    xennet_plan_free(plan);

    /* A plan that was shown is carried out as it was shown, here by its document, or not at all. */
    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    accepted(xennet_host_apply_json(host, xennet_plan_json(plan), strlen(xennet_plan_json(plan)), &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    error = xennet_host_apply(host, plan, NULL);
    CHECK(xennet_error_outcome(error) == (uint32_t)(enum xennet_outcome)XENNET_OUTCOME_UNCHANGED);
    refused(error, XENNET_KIND_STALE, "nothing of it is left to do");
    xennet_plan_free(plan);
    accepted(xennet_host_undo(host, TEXT("vif5.0"), NULL));
    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    accepted(xennet_host_apply(host, plan, NULL));
    xennet_plan_free(plan);
    accepted(xennet_host_undo(host, TEXT("vif5.0"), NULL));

    error = xennet_host_undo(host, NULL, 0, NULL);
    CHECK(xennet_error_hint(error) != NULL);
    refused(error, XENNET_KIND_NOTHING_TO_UNDO, "");
    refused(xennet_host_plan_undo(host, NULL, 0, &plan), XENNET_KIND_NOTHING_TO_UNDO, "");
    refused(xennet_host_plan_undo(host, TEXT("network-lan"), &plan), XENNET_KIND_NOTHING_TO_UNDO, "network lan");
    accepted(xennet_host_plan_recover(host, &text));
    CHECK(same(xennet_text_data(text), "{\"version\":1,\"plans\":[]}"));
    xennet_text_free(text);
    accepted(xennet_host_recover(host, &text));
    CHECK(same(xennet_text_data(text), "{\"version\":1,\"recovered\":[]}"));
    xennet_text_free(text);

    accepted(xennet_host_plan_bridge(host, TEXT("{\"name\": \"br-lan\"}"), &plan));
    CHECK(xennet_plan_len(plan) > 0);
    xennet_plan_free(plan);
    accepted(xennet_host_ensure_bridge(host, TEXT("{\"name\": \"br-lan\", \"mtu\": 1400}"), &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    accepted(xennet_host_attach(host, 6, TEXT("bridge=br-lan"), NULL));
    accepted(xennet_host_plan_detach(host, 6, 0, &plan));
    CHECK(xennet_plan_len(plan) > 0);
    xennet_plan_free(plan);
    accepted(xennet_host_detach(host, 6, 0, NULL));
    accepted(xennet_host_detach(host, 6, 0, &text));
    CHECK(has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);

    error = xennet_host_attach(host, 7, TEXT("bridge=xenbr1"), NULL);
    CHECK(same(xennet_error_object(error), "xenbr1"));
    CHECK(has(xennet_error_hint(error), "br-lan"));
    CHECK(xennet_error_state(error) != NULL);
    refused(error, XENNET_KIND_BRIDGE_NOT_FOUND, "xenbr1");

    refused(xennet_host_attach(host, 32752, TEXT("bridge=xenbr0"), NULL), XENNET_KIND_INVALID, "32752");
    refused(xennet_host_detach(host, 5, 65536, NULL), XENNET_KIND_INVALID, "65536");
    refused(xennet_host_attach(host, 5, TEXT("{\"brigde\": \"xenbr0\"}"), NULL), XENNET_KIND_INVALID, "brigde");
    refused(xennet_host_ensure_bridge(host, TEXT("{}"), NULL), XENNET_KIND_INVALID, "name");
    refused(xennet_host_ensure_bridge(host, TEXT("br0"), NULL), XENNET_KIND_INVALID, "bridge is not a document");
    refused(xennet_host_undo(host, TEXT("a/b"), NULL), XENNET_KIND_INVALID, "a/b");
    xennet_host_free(host);
}

/* A text with a network of each mode, and one of these as a document. */
static const char NETWORKS[] =
    "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"br-lan\"\n\n"
    "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n\n"
    "[network.dmz]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/28\"]\nproxy_arp = true\n";
static const char ALONE[] = "{\"name\": \"alone\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"br-alone\"}}";
#define ALONE_TEXT ALONE, (sizeof ALONE - 1)

static void test_networks_parse(void)
{
    xennet_text *document = NULL;
    xennet_error *error;

    accepted(xennet_networks_parse(NETWORKS, sizeof NETWORKS - 1, &document));
    CHECK(strlen(xennet_text_data(document)) == xennet_text_len(document));
    CHECK(has(xennet_text_data(document), "{\"networks\":[{"));
    CHECK(has(xennet_text_data(document), "\"name\":\"lan\"") && has(xennet_text_data(document), "\"uplink\":\"eth0\""));
    CHECK(has(xennet_text_data(document), "\"gateway\":\"10.0.0.254\""));
    CHECK(has(xennet_text_data(document), "\"proxy_arp\":true"));
    xennet_text_free(document);
    accepted(xennet_networks_parse(NULL, 0, &document));
    CHECK(same(xennet_text_data(document), "{\"networks\":[],\"version\":1}"));
    xennet_text_free(document);

    document = NULL;
    error = xennet_networks_parse(TEXT("[network.lan]\nmode = \"bridge\"\nupling = \"eth0\"\n"), &document);
    CHECK(xennet_error_line(error) == 3 && xennet_error_column(error) == 1);
    CHECK(has(xennet_error_report(error), "\n  3 | upling = \"eth0\"\n"));
    refused(error, XENNET_KIND_INVALID, "upling");
    refused(xennet_networks_parse(TEXT("network \xff"), &document), XENNET_KIND_INVALID, "text is not UTF-8: byte 8");
    refused(xennet_networks_parse(NULL, 1, &document), XENNET_KIND_INVALID, "text is NULL");
    refused(xennet_networks_parse(TEXT(""), NULL), XENNET_KIND_INVALID, "document is NULL");
    CHECK(document == NULL);
}

static void test_networks_get(void)
{
    xennet_text *document = NULL;
    xennet_error *error;

    accepted(xennet_networks_get(NETWORKS, sizeof NETWORKS - 1, TEXT("private"), &document));
    CHECK(has(xennet_text_data(document), "\"name\":\"private\"") && has(xennet_text_data(document), "\"mode\":\"nat\""));
    CHECK(!has(xennet_text_data(document), "networks") && !has(xennet_text_data(document), "dmz"));
    xennet_text_free(document);

    document = NULL;
    error = xennet_networks_get(NETWORKS, sizeof NETWORKS - 1, TEXT("wan"), &document);
    CHECK(has(xennet_error_hint(error), "lan, private, dmz"));
    refused(error, XENNET_KIND_INVALID, "there is no network \"wan\"");
    refused(xennet_networks_get(TEXT("[network"), TEXT("wan"), &document), XENNET_KIND_INVALID, "");
    refused(xennet_networks_get(NETWORKS, sizeof NETWORKS - 1, NULL, 3, &document), XENNET_KIND_INVALID, "name is NULL");
    refused(xennet_networks_get(NETWORKS, sizeof NETWORKS - 1, TEXT("lan"), NULL), XENNET_KIND_INVALID, "document is NULL");
    CHECK(document == NULL);
}

static void test_guest_config(void)
{
    xennet_host *host = NULL;
    xennet_text *document = NULL;
    const char *wish = "{\"gateway\": [\"192.168.0.1\"], \"dns\": [\"192.168.0.2\"]}";

    accepted(xennet_guest_config(TEXT("bridge=xenbr0,ip=192.168.0.6/24"), NULL, 0, wish, strlen(wish), TEXT("kernel"), &document));
    CHECK(has(xennet_text_data(document), "ip=192.168.0.6::192.168.0.1:255.255.255.0::eth0:off:192.168.0.2"));
    xennet_text_free(document);
    document = NULL;
    refused(xennet_guest_config(TEXT("bridge=xenbr0,ip=192.168.0.6"), NULL, 0, NULL, 0, TEXT("kernel"), &document),
            XENNET_KIND_INVALID, "the prefix length of 192.168.0.6 is not known");
    refused(xennet_guest_config(TEXT("bridge=xenbr0,ip=fd00::6/64"), NULL, 0, TEXT("{\"no_gateway\": true}"), TEXT("kernel"), &document),
            XENNET_KIND_UNSUPPORTED, "kernel cannot say IPv6 alone");
    refused(xennet_guest_config(TEXT("bridge=xenbr0"), NULL, 0, TEXT("{\"dhpc\": true}"), TEXT("kernel"), &document),
            XENNET_KIND_INVALID, "wish is not a document that is understood");
    refused(xennet_guest_config(TEXT("bridge=xenbr0"), NULL, 0, TEXT("{\"dhcp\": true}"), TEXT("kernel"), NULL),
            XENNET_KIND_INVALID, "document is NULL");
    CHECK(document == NULL);

    accepted(xennet_host_new_fake(&host));
    accepted(xennet_host_attach(host, 5, TEXT("mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.168.0.6/24"), NULL));
    accepted(xennet_host_guest_config(host, TEXT("vif5.0"), wish, strlen(wish), TEXT("ifupdown"), &document));
    CHECK(has(xennet_text_data(document), "gateway 192.168.0.1") && has(xennet_text_data(document), "/etc/network/interfaces"));
    xennet_text_free(document);
    document = NULL;
    refused(xennet_host_guest_config(host, TEXT("vif6.0"), NULL, 0, TEXT("ifupdown"), &document), XENNET_KIND_INVALID,
            "vif6.0 is not attached");
    refused(xennet_host_guest_config(NULL, TEXT("vif6.0"), NULL, 0, TEXT("ifupdown"), &document), XENNET_KIND_INVALID,
            "host is NULL");
    CHECK(document == NULL);
    xennet_host_free(host);
}

static void test_doctor(void)
{
    xennet_host *host = NULL;
    xennet_text *recording = NULL;
    xennet_text *document = NULL;
    enum xennet_finding not_seen = XENNET_FINDING_NOT_SEEN;

    accepted(xennet_host_new_fake(&host));
    accepted(xennet_host_attach(host, 5, TEXT("mac=00:16:3e:01:02:03,bridge=xenbr0,ip=8.8.4.4"), NULL));
    accepted(xennet_host_record(host, NULL, 0, XENNET_RECORD_ANONYMOUS, &recording));
    refused(xennet_host_record(host, TEXT("/nonexistent/networks.toml"), 2, &document), XENNET_KIND_INVALID, "flags cannot be 2");
    CHECK(document == NULL);
    CHECK(has(xennet_text_data(recording), "\"version\":1") && !has(xennet_text_data(recording), "8.8.4.4"));
    accepted(xennet_doctor(xennet_text_data(recording), xennet_text_len(recording), &document));
    CHECK(has(xennet_text_data(document), "\"version\":1") && has(xennet_text_data(document), "\"XN0906\""));
    CHECK(!has(xennet_text_data(document), "\"error\""));
    CHECK(not_seen == 906);
    xennet_text_free(document);
    document = NULL;
    refused(xennet_doctor(xennet_text_data(recording), xennet_text_len(recording) - 1, &document), XENNET_KIND_INVALID,
            "the recording cannot be read");
    refused(xennet_doctor(TEXT("{\"version\": 9}"), &document), XENNET_KIND_INVALID, "is of version 9");
    CHECK(document == NULL);
    xennet_text_free(recording);
    accepted(xennet_schema(TEXT("findings"), &document));
    CHECK(has(xennet_text_data(document), "\"$id\": \"urn:xennet:findings:1\""));
    xennet_text_free(document);
    accepted(xennet_schema(NULL, 0, &document));
    CHECK(has(xennet_text_data(document), "\"name\":\"findings\""));
    xennet_text_free(document);
    document = NULL;
    refused(xennet_schema(TEXT("finding"), &document), XENNET_KIND_INVALID, "is not the name of a document");
    CHECK(document == NULL);
    accepted(xennet_doctor_codes(&document));
    CHECK(has(xennet_text_data(document), "\"code\":\"XN0104\""));
    xennet_text_free(document);
    xennet_host_free(host);
}

static void test_trace(void)
{
    xennet_text *document = NULL;
    const char *recording = "{\"version\": 1, \"taken\": {}, \"snapshot\": {}}";

    accepted(xennet_trace(recording, strlen(recording), TEXT("192.0.2.1"), TEXT("192.0.2.2"), TEXT("tcp"), 22, &document));
    CHECK(has(xennet_text_data(document), "\"verdict\":\"dropped\""));
    CHECK(has(xennet_text_data(document), "\"where\":\"routing tables of dom0\""));
    xennet_text_free(document);
    document = NULL;
    accepted(xennet_trace(recording, strlen(recording), TEXT("192.0.2.1"), TEXT("192.0.2.2"), NULL, 0, 0, &document));
    CHECK(has(xennet_text_data(document), "\"hops\":["));
    xennet_text_free(document);
    document = NULL;
    refused(xennet_trace(recording, strlen(recording), TEXT("web01"), TEXT("192.0.2.2"), NULL, 0, 0, &document),
            XENNET_KIND_LINK_NOT_FOUND, "\"web01\" is no domain, vif or address here");
    refused(xennet_trace(recording, strlen(recording), TEXT("192.0.2.1"), TEXT("192.0.2.2"), NULL, 0, 22, &document),
            XENNET_KIND_INVALID, "a port needs its protocol");
    refused(xennet_trace(recording, strlen(recording), TEXT("192.0.2.1"), TEXT("192.0.2.2"), TEXT("tcp"), 65558, &document),
            XENNET_KIND_INVALID, "65558");
    refused(xennet_trace(TEXT("{}"), TEXT("192.0.2.1"), TEXT("192.0.2.2"), NULL, 0, 0, &document), XENNET_KIND_INVALID,
            "this JSON document is no recording");
    refused(xennet_trace(recording, strlen(recording), TEXT("192.0.2.1"), TEXT("192.0.2.2"), NULL, 0, 0, NULL),
            XENNET_KIND_INVALID, "document is NULL");
    CHECK(document == NULL);
}

static void test_a_network_from_plan_to_stop(void)
{
    xennet_host *host = NULL;
    xennet_plan *plan = NULL;
    xennet_text *text = NULL;
    xennet_error *error;

    accepted(xennet_host_new_fake(&host));
    accepted(xennet_host_plan_start(host, ALONE_TEXT, &plan));
    CHECK(xennet_plan_len(plan) > 0 && has(xennet_plan_text(plan), "br-alone"));
    xennet_plan_free(plan);
    accepted(xennet_host_network_status(host, ALONE_TEXT, &text));
    CHECK(has(xennet_text_data(text), "\"network\":\"alone\"") && has(xennet_text_data(text), "\"started\":false"));
    xennet_text_free(text);
    accepted(xennet_host_plan_stop(host, TEXT("alone"), XENNET_GUESTS_MUST_HAVE_GONE, &plan));
    CHECK(plan == NULL); /* it is not started */

    accepted(xennet_host_start_network(host, ALONE_TEXT, &text));
    CHECK(has(xennet_text_data(text), "\"notes\":[") && !has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    accepted(xennet_host_start_network(host, ALONE_TEXT, &text));
    CHECK(has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    error = xennet_host_start_network(
        host, TEXT("{\"name\": \"alone\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"br-other\"}}"), NULL);
    CHECK(has(xennet_error_hint(error), "stop it first"));
    refused(error, XENNET_KIND_CONFLICT, "described otherwise");

    /* A guest is in the way, unless it may be cut off. */
    accepted(xennet_host_attach(host, 5, TEXT("bridge=br-alone"), NULL));
    accepted(xennet_host_network_status(host, ALONE_TEXT, &text));
    CHECK(has(xennet_text_data(text), "\"started\":true") && has(xennet_text_data(text), "\"missing\":[]"));
    CHECK(has(xennet_text_data(text), "\"ports\":[\"vif5.0\"]"));
    xennet_text_free(text);
    refused(xennet_host_plan_stop(host, TEXT("alone"), XENNET_GUESTS_MUST_HAVE_GONE, &plan), XENNET_KIND_CONFLICT, "");
    error = xennet_host_stop_network(host, TEXT("alone"), XENNET_GUESTS_MUST_HAVE_GONE, NULL);
    CHECK(xennet_error_state(error) != NULL);
    refused(error, XENNET_KIND_CONFLICT, "vif5.0");
    accepted(xennet_host_plan_stop(host, TEXT("alone"), XENNET_GUESTS_ARE_CUT_OFF, &plan));
    CHECK(xennet_plan_len(plan) > 0);
    xennet_plan_free(plan);
    accepted(xennet_host_stop_network(host, TEXT("alone"), XENNET_GUESTS_ARE_CUT_OFF, &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    accepted(xennet_host_stop_network(host, TEXT("alone"), XENNET_GUESTS_MUST_HAVE_GONE, &text));
    CHECK(has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);

    refused(xennet_host_stop_network(host, TEXT("alone"), 2, NULL), XENNET_KIND_INVALID, "2 says nothing of guests");
    refused(xennet_host_stop_network(host, TEXT("a/b"), 0, NULL), XENNET_KIND_INVALID, "a/b");
    refused(xennet_host_start_network(host, TEXT("alone"), NULL), XENNET_KIND_INVALID, "network is not a document");
    refused(xennet_host_start_network(host, TEXT("{\"name\": \"n\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"n\"}, "
                                                 "\"upling\": \"eth0\"}"), NULL),
            XENNET_KIND_INVALID, "upling");
    refused(xennet_host_start_network(host, TEXT("{\"name\": \"n\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"n\"}, "
                                                 "\"uplink\": \"eth7\"}"), NULL),
            XENNET_KIND_LINK_NOT_FOUND, "eth7");
    xennet_host_free(host);
}

static void test_null_is_named(void)
{
    xennet_host *host = NULL;
    xennet_plan *plan = NULL;
    xennet_text *text = NULL;

    accepted(xennet_host_new_fake(&host));
    refused(xennet_host_new_fake(NULL), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_new_netlink(NULL, 0, NULL), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_attach(NULL, 5, TEXT("x"), &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_attach(host, 5, TEXT("x"), NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_plan_attach(host, 5, NULL, 3, &plan), XENNET_KIND_INVALID, "vif is NULL");
    refused(xennet_host_attach(NULL, 5, TEXT("x"), &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_attach(host, 5, NULL, 3, &text), XENNET_KIND_INVALID, "vif is NULL");
    refused(xennet_host_plan_detach(NULL, 5, 0, &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_detach(host, 5, 0, NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_detach(NULL, 5, 0, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_bridge(NULL, TEXT("{}"), &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_bridge(host, TEXT("{}"), NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_ensure_bridge(NULL, TEXT("{}"), &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_ensure_bridge(host, NULL, 2, &text), XENNET_KIND_INVALID, "bridge is NULL");
    refused(xennet_host_show(NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_show(host, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_overview(NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_overview(host, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_violations(NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_violations(host, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_picture(NULL, "svg", 3, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_picture(host, "svg", 3, NULL), XENNET_KIND_INVALID, "picture is NULL");
    refused(xennet_host_picture(host, "gif", 3, &text), XENNET_KIND_INVALID, "\"gif\" is no form of a picture");
    refused(xennet_host_apply(NULL, NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_apply(host, NULL, &text), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_apply_json(NULL, TEXT("{}"), &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_apply_json(host, TEXT("{}"), &text), XENNET_KIND_INVALID, "plan");
    refused(xennet_host_undo(NULL, NULL, 0, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_undo(host, NULL, 4, &text), XENNET_KIND_INVALID, "subject is NULL");
    refused(xennet_host_plan_undo(NULL, NULL, 0, &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_undo(host, NULL, 0, NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_plan_undo(host, NULL, 4, &plan), XENNET_KIND_INVALID, "subject is NULL");
    refused(xennet_host_plan_recover(NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_recover(host, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_recover(NULL, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_recover(host, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_plan_start(NULL, ALONE_TEXT, &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_start(host, ALONE_TEXT, NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_plan_start(host, NULL, 3, &plan), XENNET_KIND_INVALID, "network is NULL");
    refused(xennet_host_start_network(NULL, ALONE_TEXT, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_start_network(host, NULL, 3, &text), XENNET_KIND_INVALID, "network is NULL");
    refused(xennet_host_plan_stop(NULL, TEXT("n"), 0, &plan), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_plan_stop(host, TEXT("n"), 0, NULL), XENNET_KIND_INVALID, "plan is NULL");
    refused(xennet_host_plan_stop(host, NULL, 3, 0, &plan), XENNET_KIND_INVALID, "name is NULL");
    refused(xennet_host_stop_network(NULL, TEXT("n"), 0, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_stop_network(host, NULL, 3, 0, &text), XENNET_KIND_INVALID, "name is NULL");
    refused(xennet_host_network_status(NULL, ALONE_TEXT, &text), XENNET_KIND_INVALID, "host is NULL");
    refused(xennet_host_network_status(host, ALONE_TEXT, NULL), XENNET_KIND_INVALID, "document is NULL");
    refused(xennet_host_network_status(host, NULL, 3, &text), XENNET_KIND_INVALID, "network is NULL");
    CHECK(plan == NULL && text == NULL);
    xennet_host_free(host);
}

/* Reading the kernel is free for everyone. A state directory that cannot be is refused before anything is touched. */
static void test_the_kernel(const char *state_dir)
{
    xennet_host *host = NULL;
    xennet_text *text = NULL;
    xennet_error *error;

    accepted(xennet_host_new_netlink(state_dir, strlen(state_dir), &host));
    accepted(xennet_host_show(host, &text));
    CHECK(has(xennet_text_data(text), "\"bridges\":["));
    xennet_text_free(text);
    xennet_host_free(host);

    accepted(xennet_host_new_netlink(TEXT("/dev/null/xennet"), &host));
    error = xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL);
    CHECK(xennet_error_errno(error) != 0);
    refused(error, XENNET_KIND_STATE_UNUSABLE, "/dev/null/xennet");
    xennet_host_free(host);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    CHECK(other_unit() == XENNET_TEXT_MAX);
    test_version_and_kinds();
    test_null_reads_as_nothing();
    test_vif_parse();
    test_a_vif_from_plan_to_undo();
    test_networks_parse();
    test_networks_get();
    test_guest_config();
    test_doctor();
    test_trace();
    test_a_network_from_plan_to_stop();
    test_null_is_named();
    test_the_kernel(argv[1]);
    test_more(argv[1], argv[2]);
    return 0;
}
