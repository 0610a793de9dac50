/* SPDX-License-Identifier: MIT OR Apache-2.0 */

/**
 * \file xennet.h
 * The networking of a Xen host: networks, bridges and vifs, planned as data, applied, verified and undone.
 *
 * Generated from the sources of xennet-ffi; changes by hand are lost.
 *
 * - **Errors.** A function that can fail returns `xennet_error *`: NULL for success, else an object that the caller frees.
 *   Its kind is one of `XENNET_KIND_*`; these numbers never change and are the exit codes of the command, too. Accessors
 *   and `*_free` functions take NULL and answer NULL or 0, so `xennet_error_kind(NULL)` is `XENNET_KIND_NONE`.
 * - **Arguments.** First the object, then what goes in, then what comes out. What comes out is written on success only. A
 *   NULL where none is allowed is an error of kind `XENNET_KIND_INVALID`.
 * - **Texts** that go in are a pointer and a length in bytes, UTF-8, at most `XENNET_TEXT_MAX` bytes (a recording: `XENNET_RECORDING_MAX`); a final zero is not
 *   needed and is not counted. NULL with length 0 is the empty text. They are not kept. Texts that come out are UTF-8 and
 *   end with a zero; values of xenstore are bytes as they are, with a zero behind the last one. Lists of texts (`argv`) are as `main` gets them.
 * - **Times** are numbers of the unit that the argument is called by: `milliseconds`, `seconds`. Truths are 0 and 1.
 * - **Documents** are JSON objects. Each says its version in its member "version", and has a schema: `xennet_schema`. Another member makes
 *   no new version. What goes in may leave its version out.
 * - **Owners.** What a function hands out is freed with the `*_free` function of its type, once. What an accessor returns
 *   (`const char *`) belongs to the object and lives as long.
 * - **Threads.** A function that takes a `const` pointer may be called on the same object by several threads at once; one
 *   that takes another pointer needs the object for itself. On one host the calls wait for each other, so threads that shall not
 *   wait have a host each. An object may be used and freed by another thread than the one that made it. Different objects never
 *   disturb each other; two hosts that change the same vif wait for each other.
 * - **Processes.** A host belongs to the process that opened it, as a connection to xenstore and the events of links do. After `fork` the child
 *   opens one of its own; it may free its parent's, and everything else refuses it. What the library locks during a call is not held by a child.
 *   The program may ignore `SIGCHLD` or wait for all children: the library needs no status of any. Signals interrupt no call; the library changes no
 *   handler of the program's.
 * - **Descriptors** that come out are for `poll` alone: they are the object's, and are neither read from nor closed. Those that go in stay the
 *   caller's, and are used during the call.
 * - **Callbacks** (`xennet_log`) are called by the thread that has called, before that call returns, and while the library holds no lock: they may
 *   call the library, on the same object, too. They must return: no `longjmp`, no `pthread_exit`, no exception (one that leaves a callback ends the
 *   program). What they are given lives until they return.
 * - **Panics** (defects of the library) never cross this interface: they become errors of kind `XENNET_KIND_INTERNAL`.
 */

#ifndef XENNET_H
#define XENNET_H

#include <stddef.h>
#include <stdint.h>
/** The version of this header; `xennet_version` has that of the library. */
#define XENNET_VERSION "0.1.0"
#define XENNET_VERSION_MAJOR 0
#define XENNET_VERSION_MINOR 1
#define XENNET_VERSION_PATCH 0

/**
 * What kind of error it is. The numbers never change; a retired one is never given out again.
 */
enum xennet_kind {
  /** No error: the call succeeded. */
  XENNET_KIND_NONE = 0,
  /** A defect in xennet itself, or a situation that it has no better word for. */
  XENNET_KIND_INTERNAL = 1,
  /** The given text or value breaks a rule; the message shows where. */
  XENNET_KIND_INVALID = 2,
  /** The named link does not exist. */
  XENNET_KIND_LINK_NOT_FOUND = 3,
  /** The named bridge does not exist. */
  XENNET_KIND_BRIDGE_NOT_FOUND = 4,
  /** The named link exists but is not a bridge. */
  XENNET_KIND_NOT_A_BRIDGE = 5,
  /** The wanted name belongs to another link. */
  XENNET_KIND_NAME_TAKEN = 6,
  /** The link is a port of another bridge already. */
  XENNET_KIND_PORT_OF_OTHER = 7,
  /** The caller lacks the permission (CAP_NET_ADMIN in the network namespace's user namespace). */
  XENNET_KIND_DENIED = 8,
  /** A kernel setting cannot be written because /proc/sys is mounted read-only. */
  XENNET_KIND_READ_ONLY = 9,
  /** The state directory has no room left. */
  XENNET_KIND_STATE_FULL = 10,
  /** The state directory cannot be used. */
  XENNET_KIND_STATE_UNUSABLE = 11,
  /** This backend or this kernel cannot do what was asked for. */
  XENNET_KIND_UNSUPPORTED = 12,
  /** Another process held the lock for longer than the deadline. */
  XENNET_KIND_BUSY = 13,
  /** The system has changed since the plan was made. */
  XENNET_KIND_STALE = 14,
  /** The kernel refused a step. */
  XENNET_KIND_KERNEL = 15,
  /** Every step was accepted, but the state that was read back is not the wanted one. */
  XENNET_KIND_NOT_VERIFIED = 16,
  /** An earlier operation was interrupted and has not been recovered yet. */
  XENNET_KIND_INTERRUPTED = 17,
  /** The request contradicts another vif, network or record of this host. */
  XENNET_KIND_CONFLICT = 18,
  /** There is nothing recorded that could be undone. */
  XENNET_KIND_NOTHING_TO_UNDO = 19,
  /** A step of the plan would cut dom0 off. */
  XENNET_KIND_WOULD_CUT_OFF = 20,
  /** Talking to the kernel or reading its answer failed. */
  XENNET_KIND_IO = 21,
  /** Xenstore cannot be reached, refused a request or answered wrongly. */
  XENNET_KIND_XENSTORE = 22,
  /** A hook of the administrator's failed or took too long. */
  XENNET_KIND_HOOK_FAILED = 23
};

/**
 * What a failed call has made of the system. The numbers never change.
 */
enum xennet_outcome {
  /** Not known, or the error is about no call that changes something. */
  XENNET_OUTCOME_NONE = 0,
  /** Nothing was changed. */
  XENNET_OUTCOME_UNCHANGED = 1,
  /** What had been changed was put back, and is as before. */
  XENNET_OUTCOME_RESTORED = 2,
  /** It is neither as before nor as wanted, or that is not known. */
  XENNET_OUTCOME_INCOMPLETE = 3
};

/**
 * What a finding of `xennet_doctor` is. The numbers are those of the codes, and never change.
 */
enum xennet_finding {
  /** `XN0101`, error: The networks file cannot be read. */
  XENNET_FINDING_DESCRIPTION_UNREADABLE = 101,
  /** `XN0102`, warning: An operation was interrupted. */
  XENNET_FINDING_INTERRUPTED = 102,
  /** `XN0103`, warning: A start waits for its confirmation. */
  XENNET_FINDING_UNCONFIRMED = 103,
  /** `XN0104`, error: A bridge is missing. */
  XENNET_FINDING_BRIDGE_MISSING = 104,
  /** `XN0105`, error: A link with a bridge's name is no bridge. */
  XENNET_FINDING_NOT_A_BRIDGE = 105,
  /** `XN0106`, error: A bridge is down. */
  XENNET_FINDING_BRIDGE_DOWN = 106,
  /** `XN0107`, error: Two vifs want one name. */
  XENNET_FINDING_NAME_COLLISION = 107,
  /** `XN0201`, error: The uplink of a network is missing. */
  XENNET_FINDING_UPLINK_MISSING = 201,
  /** `XN0202`, error: The uplink is no port of its bridge. */
  XENNET_FINDING_UPLINK_LOST = 202,
  /** `XN0203`, error: The uplink is down. */
  XENNET_FINDING_UPLINK_DOWN = 203,
  /** `XN0204`, error: The uplink has no carrier. */
  XENNET_FINDING_UPLINK_WITHOUT_CARRIER = 204,
  /** `XN0205`, error: A bridge port does not forward. */
  XENNET_FINDING_PORT_BLOCKED = 205,
  /** `XN0206`, warning: The bridge lets new ports wait. */
  XENNET_FINDING_FORWARD_DELAY = 206,
  /** `XN0207`, warning: A bridge has two uplinks, and no spanning tree. */
  XENNET_FINDING_TWO_UPLINKS = 207,
  /** `XN0208`, error: This host has no default route. */
  XENNET_FINDING_NO_DEFAULT_ROUTE = 208,
  /** `XN0209`, error: The gateway does not answer. */
  XENNET_FINDING_GATEWAY_SILENT = 209,
  /** `XN0210`, warning: A bridge port has an address. */
  XENNET_FINDING_ADDRESS_ON_PORT = 210,
  /** `XN0211`, note: There are two default routes of one metric. */
  XENNET_FINDING_MULTIPLE_DEFAULT_ROUTES = 211,
  /** `XN0301`, error: Reverse path filtering drops guests' packets. */
  XENNET_FINDING_REVERSE_PATH = 301,
  /** `XN0302`, error: IPv6 is switched off on a link that needs it. */
  XENNET_FINDING_IPV6_DISABLED = 302,
  /** `XN0303`, warning: The IPv6 default route will run out. */
  XENNET_FINDING_ROUTER_ADVERTISEMENTS_LOST = 303,
  /** `XN0304`, note: The bridge tracks multicast groups, and nobody asks for them. */
  XENNET_FINDING_SNOOPING_WITHOUT_QUERIER = 304,
  /** `XN0305`, error: A VLAN ends at the bridge. */
  XENNET_FINDING_VLAN_ENDS = 305,
  /** `XN0306`, error: A route or a rule drops guests' packets. */
  XENNET_FINDING_ROUTE_REFUSES = 306,
  /** `XN0401`, error: Two guests have one MAC address. */
  XENNET_FINDING_MAC_TWICE = 401,
  /** `XN0402`, error: A guest has a MAC address of this host. */
  XENNET_FINDING_MAC_OF_HOST = 402,
  /** `XN0403`, error: A guest's MAC address cannot be one. */
  XENNET_FINDING_MAC_UNUSABLE = 403,
  /** `XN0404`, warning: A guest's MAC address was seen behind another port. */
  XENNET_FINDING_MAC_ELSEWHERE = 404,
  /** `XN0405`, warning: A vif has not the usual backend MAC. */
  XENNET_FINDING_BACKEND_MAC = 405,
  /** `XN0406`, error: Two guests have one address. */
  XENNET_FINDING_ADDRESS_TWICE = 406,
  /** `XN0407`, error: A guest has an address of this host. */
  XENNET_FINDING_ADDRESS_OF_HOST = 407,
  /** `XN0408`, error: A guest has the gateway's address. */
  XENNET_FINDING_ADDRESS_OF_GATEWAY = 408,
  /** `XN0409`, error: A guest's address is answered by another machine. */
  XENNET_FINDING_ADDRESS_ELSEWHERE = 409,
  /** `XN0410`, error: An address of this host is used by another machine. */
  XENNET_FINDING_ADDRESS_DUPLICATE = 410,
  /** `XN0411`, warning: A guest's address is in no subnet of its network. */
  XENNET_FINDING_ADDRESS_OUTSIDE = 411,
  /** `XN0501`, error: The guard is not whole. */
  XENNET_FINDING_GUARD_DAMAGED = 501,
  /** `XN0502`, error: The gate is not whole. */
  XENNET_FINDING_GATE_DAMAGED = 502,
  /** `XN0503`, error: Another program has a table with our name. */
  XENNET_FINDING_TABLE_OF_OTHERS = 503,
  /** `XN0504`, error: A started network lacks something. */
  XENNET_FINDING_NETWORK_DAMAGED = 504,
  /** `XN0505`, error: This host does not route. */
  XENNET_FINDING_FORWARDING_OFF = 505,
  /** `XN0506`, error: A vif is not on its bridge. */
  XENNET_FINDING_VIF_OUTSIDE = 506,
  /** `XN0507`, error: A vif is down. */
  XENNET_FINDING_VIF_DOWN = 507,
  /** `XN0508`, error: A vif lacks something. */
  XENNET_FINDING_VIF_LACKS = 508,
  /** `XN0509`, error: The route to a guest leads elsewhere. */
  XENNET_FINDING_ROUTE_ELSEWHERE = 509,
  /** `XN0510`, warning: A record is of a domain that has gone. */
  XENNET_FINDING_RECORD_OF_GONE = 510,
  /** `XN0511`, warning: Our tables know a link that nobody has. */
  XENNET_FINDING_ELEMENT_OF_GONE = 511,
  /** `XN0512`, note: The outside needs a route to a routed network. */
  XENNET_FINDING_UPSTREAM_ROUTE = 512,
  /** `XN0513`, note: A network is described otherwise than it was started. */
  XENNET_FINDING_STARTED_OTHERWISE = 513,
  /** `XN0514`, error: Packets of a guest are dropped. */
  XENNET_FINDING_PACKETS_DROPPED = 514,
  /** `XN0601`, error: The hotplug call of a vif failed. */
  XENNET_FINDING_HOTPLUG_FAILED = 601,
  /** `XN0602`, error: The hotplug call of a vif never answered. */
  XENNET_FINDING_HOTPLUG_MISSING = 602,
  /** `XN0603`, error: xenstore has a connected vif, and the kernel has no such link. */
  XENNET_FINDING_VIF_WITHOUT_LINK = 603,
  /** `XN0604`, warning: The kernel has a vif of which xenstore knows nothing. */
  XENNET_FINDING_LINK_WITHOUT_NODE = 604,
  /** `XN0605`, warning: A guest's driver has not connected. */
  XENNET_FINDING_FRONTEND_NOT_CONNECTED = 605,
  /** `XN0606`, warning: Two domains have one name. */
  XENNET_FINDING_DOMAIN_NAME_TWICE = 606,
  /** `XN0607`, error: The hotplug script of a vif is not there. */
  XENNET_FINDING_SCRIPT_MISSING = 607,
  /** `XN0608`, warning: A script calls a function that newer Xen does not have. */
  XENNET_FINDING_SCRIPT_OF_OLD_XEN = 608,
  /** `XN0609`, warning: A hook cannot run. */
  XENNET_FINDING_HOOK_BROKEN = 609,
  /** `XN0701`, error: A port's MTU is smaller than its bridge's. */
  XENNET_FINDING_MTU_OF_PORT = 701,
  /** `XN0702`, error: The uplink's MTU is smaller than that of guests. */
  XENNET_FINDING_MTU_OF_UPLINK = 702,
  /** `XN0703`, error: The link below has a smaller MTU. */
  XENNET_FINDING_MTU_OF_LOWER = 703,
  /** `XN0704`, warning: A guest was told another MTU. */
  XENNET_FINDING_MTU_OF_FRONTEND = 704,
  /** `XN0801`, error: Another firewall drops guests' packets. */
  XENNET_FINDING_FOREIGN_DROP = 801,
  /** `XN0802`, note: Another firewall has rules that cannot be judged. */
  XENNET_FINDING_FOREIGN_UNJUDGED = 802,
  /** `XN0803`, note: The kernel has tables of iptables-legacy. */
  XENNET_FINDING_LEGACY_TABLES = 803,
  /** `XN0804`, warning: Another table hides the guests of a routed network. */
  XENNET_FINDING_FOREIGN_MASQUERADE = 804,
  /** `XN0805`, warning: Another program manages guests' links. */
  XENNET_FINDING_MANAGER_TAKES_LINKS = 805,
  /** `XN0806`, warning: Somebody has given a vif an address. */
  XENNET_FINDING_ADDRESS_ON_VIF = 806,
  /** `XN0807`, error: The table of tracked connections is nearly full. */
  XENNET_FINDING_CONNTRACK_FULL = 807,
  /** `XN0808`, warning: The neighbour table is small for so many guests. */
  XENNET_FINDING_NEIGHBOUR_TABLE_SMALL = 808,
  /** `XN0901`, error: dnsmasq does not run. */
  XENNET_FINDING_DNSMASQ_DEAD = 901,
  /** `XN0902`, error: dnsmasq does not hear its guests. */
  XENNET_FINDING_DNSMASQ_UNHEARD = 902,
  /** `XN0903`, warning: This host receives packets with wrong checksums. */
  XENNET_FINDING_CHECKSUM_ERRORS = 903,
  /** `XN0904`, note: A link has counted errors. */
  XENNET_FINDING_LINK_ERRORS = 904,
  /** `XN0905`, note: Calls ask the kernel for modules that it does not have. */
  XENNET_FINDING_MODULES_MISSING = 905,
  /** `XN0906`, note: Something could not be looked at. */
  XENNET_FINDING_NOT_SEEN = 906
};


/**
 * The longest text that a function takes, in bytes.
 */
#define XENNET_TEXT_MAX (1 << 20)

/**
 * The longest recording that is taken, in bytes: one of ten thousand vifs has some ten million.
 */
#define XENNET_RECORDING_MAX (1 << 28)

/**
 * The strict dialect: what xl would drop, guess or misread is an error.
 */
#define XENNET_DIALECT_STRICT 0

/**
 * The dialect of xl: what xl takes, with a note for all that it swallows.
 */
#define XENNET_DIALECT_XL 1

/**
 * The dialect of the older xm.
 */
#define XENNET_DIALECT_XM 2

/**
 * The kernel's networking.
 */
#define XENNET_BACKEND_NETLINK 0

/**
 * A rehearsal: in memory, or in the files of a state directory if the settings name one.
 */
#define XENNET_BACKEND_FAKE 1

/**
 * The kernel's networking in a new network namespace of the host's own, which has one loopback link, down. Freeing the host removes it. Without
 * a state directory the state is in memory. Opening it needs CAP_SYS_ADMIN. Each call starts a thread and waits for it.
 */
#define XENNET_BACKEND_SANDBOX 2

/**
 * Guests are bound to their MACs where their vif line declares addresses (`ip=`).
 */
#define XENNET_MAC_BINDING_WHERE_DECLARED 0

/**
 * Every guest may send from its own MAC only.
 */
#define XENNET_MAC_BINDING_ALWAYS 1

/**
 * A small dom0: loopback, the uplink `eth0`, the bridge `xenbr0` with an address and the default route; a vif appears when it is named.
 */
#define XENNET_WORLD_EXAMPLE 0

/**
 * Nothing but loopback, as in a new network namespace; a vif appears when it is named.
 */
#define XENNET_WORLD_EMPTY 1

/**
 * A call has failed.
 */
#define XENNET_LOG_ERROR 1

/**
 * A note of a call that succeeded.
 */
#define XENNET_LOG_WARNING 2

/**
 * A step was carried out.
 */
#define XENNET_LOG_INFO 3

/**
 * A call has succeeded; the message says how long it took.
 */
#define XENNET_LOG_DEBUG 4

/**
 * Netback's link, `vif5.0`.
 */
#define XENNET_LINK_VIF 0

/**
 * The emulated twin of an HVM guest, `vif5.0-emu`, made by the device model.
 */
#define XENNET_LINK_TAP 1

/**
 * Stopping a network is refused while a guest is a port of the network's own bridge, or another network reaches the outside through it.
 */
#define XENNET_GUESTS_MUST_HAVE_GONE 0

/**
 * Stopping a network disconnects the guests that are still connected to it, and the networks that reach the outside through its bridge.
 */
#define XENNET_GUESTS_ARE_CUT_OFF 1

/**
 * Somebody confirmed in time.
 */
#define XENNET_VERDICT_KEPT 0

/**
 * Nobody confirmed in time, and the guard undid the start.
 */
#define XENNET_VERDICT_LATE 1

/**
 * The process that started the network ended without telling the guard the outcome, and the guard undid the start.
 */
#define XENNET_VERDICT_DIED 2

/**
 * The start failed, or changed nothing: there is nothing to undo.
 */
#define XENNET_VERDICT_FAILED 3

/**
 * For `xennet_host_record`: public addresses, hardware addresses and the names of the host and of domains are replaced by others.
 */
#define XENNET_RECORD_ANONYMOUS 1

/**
 * Why a call failed, owned by the caller. It never changes.
 *
 * What the accessors return lives until `xennet_error_free`. A part that is not known is NULL or 0.
 */
typedef struct xennet_error xennet_error;

/**
 * A Xen host, or a rehearsal of one in memory, owned by the caller.
 *
 * Several threads may use one at once: their calls wait for each other. After a fork(2) it is the parent's alone: in the child
 * every function but `xennet_host_free` refuses it with `XENNET_KIND_INVALID`, and the child opens one of its own.
 */
typedef struct xennet_host xennet_host;

/**
 * The links of a network namespace, watched; owned by the caller. It needs no permission.
 *
 * Several threads may use one at once: their calls wait for each other. After a fork(2) it is the parent's alone, as a host is.
 */
typedef struct xennet_links xennet_links;

/**
 * What a call would do, owned by the caller. It never changes, and outlives the host that it was made for.
 */
typedef struct xennet_plan xennet_plan;

/**
 * How a host is opened, owned by the caller: every setting has a default. Hosts that were opened with it do not change with it.
 */
typedef struct xennet_settings xennet_settings;

/**
 * A connection to xenstored, owned by the caller.
 *
 * Several threads may use one at once: their calls wait for each other, also for one that waits for an event. A transaction is that of
 * the connection, and so of all its threads. After a fork(2) it is the parent's alone, as a host is.
 *
 * Paths are absolute, or relative to the home of the own domain. After a missed deadline or
 * a closed connection every further call fails at once with `XENNET_KIND_XENSTORE`: open another connection. After a refusal by xenstored the
 * connection can still be used.
 */
typedef struct xennet_store xennet_store;

/**
 * A text that a function returned: UTF-8, usually one JSON document; of xenstore, the bytes of a value. It never changes.
 */
typedef struct xennet_text xennet_text;

/**
 * A function of the program for log messages (`xennet_settings_log`). It gets its context, the level (`XENNET_LOG_*`), a sentence and a JSON
 * document. A C++ exception that leaves it ends the program.
 */
typedef void (*xennet_log)(void*, uint32_t, const char*, const char*);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, for example "0.1.0"; `XENNET_VERSION` is that of the header. The text is never
 * freed.
 */
const char *xennet_version(void);

/**
 * The short name of a kind, as it stands in JSON documents, for example "bridge-not-found". The text is never freed.
 *
 * \return NULL for a number that is no kind; the kinds are numbered from 1 without holes, so this ends a loop over them.
 */
const char *xennet_kind_slug(uint32_t kind);

/**
 * What a kind means, as a sentence fragment. The text is never freed.
 *
 * \return NULL for a number that is no kind.
 */
const char *xennet_kind_meaning(uint32_t kind);

/**
 * What kind of error it is: one of `XENNET_KIND_*`. A newer library may know kinds that this header does not.
 *
 * \return 0 (`XENNET_KIND_NONE`) if `error` is NULL, that is, if the call succeeded.
 */
uint32_t xennet_error_kind(const xennet_error *error);

/**
 * The error number that the kernel or xenstored gave, as in `<errno.h>`; 0 if there is none.
 */
int32_t xennet_error_errno(const xennet_error *error);

/**
 * The line of the given text that is wrong, from 1; 0 if the error is not about a text.
 */
uint32_t xennet_error_line(const xennet_error *error);

/**
 * The column of the given text that is wrong, in characters from 1; 0 if the error is not about a text.
 */
uint32_t xennet_error_column(const xennet_error *error);

/**
 * What went wrong, in one line.
 */
const char *xennet_error_message(const xennet_error *error);

/**
 * The link, file or argument that the error is about.
 */
const char *xennet_error_object(const xennet_error *error);

/**
 * The kernel's own sentence (netlink extended acknowledgement).
 */
const char *xennet_error_kernel_message(const xennet_error *error);

/**
 * The step that failed, for example "step 3 of 5: vif5.0 becomes a port of xenbr0".
 */
const char *xennet_error_step(const xennet_error *error);

/**
 * What the failed call has made of the system: one of `XENNET_OUTCOME_*`. A newer library may know others.
 *
 * \return 0 (`XENNET_OUTCOME_NONE`) if `error` is NULL, and of an error that is about a value or a text, and about no call that changes
 *   something.
 */
uint32_t xennet_error_outcome(const xennet_error *error);

/**
 * The state that the system was left in, for example "restored, 2 steps undone".
 */
const char *xennet_error_state(const xennet_error *error);

/**
 * The way out.
 */
const char *xennet_error_hint(const xennet_error *error);

/**
 * The whole error for people: several lines without a final newline, without colour. A text that was refused stands in it
 * with a mark under the wrong place.
 */
const char *xennet_error_report(const xennet_error *error);

/**
 * The whole error as a JSON document: `kind`, `code`, `message` and, where known, `object`, `errno`, `errno_name`,
 * `kernel_message`, `step`, `outcome`, `state`, `hint`, `line`, `column`, `span`, `rule`.
 */
const char *xennet_error_json(const xennet_error *error);

/**
 * Frees an error. NULL is fine.
 */
void xennet_error_free(xennet_error *error);

/**
 * The bytes of the text, with a zero behind the last one, so that it is a C string as well. They live until
 * `xennet_text_free`.
 *
 * \return NULL if `text` is NULL.
 */
const char *xennet_text_data(const xennet_text *text);

/**
 * The length of the text in bytes, without the final zero.
 *
 * \return 0 if `text` is NULL.
 */
size_t xennet_text_len(const xennet_text *text);

/**
 * Frees a text. NULL is fine.
 */
void xennet_text_free(xennet_text *text);

/**
 * Reads a vif line, one string of `vif = [ ... ]` in a domain's configuration.
 *
 * \param dialect `XENNET_DIALECT_*`.
 * \param line The line, UTF-8.
 * \param line_len Its length in bytes.
 * \param document Gets a JSON document: `nic` is the vif with libxl's field names, which `xennet_host_attach` takes in
 *   place of a line; `notes` are sentences for the reader: what has no effect, what xl would have swallowed.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_vif_parse(uint32_t dialect, const char *line, size_t line_len, xennet_text **document);

/**
 * Reads the `vif = [ ... ]` of a domain's configuration file.
 *
 * \param dialect `XENNET_DIALECT_*`.
 * \param text The text of the file, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"value": {"nics": [...]}, "notes": []}`; each of `nics` is what `xennet_host_attach` takes, `notes` are
 *   sentences for the reader.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_vif_list_parse(uint32_t dialect,
                                    const char *text,
                                    size_t text_len,
                                    xennet_text **document);

/**
 * Reads the arguments of `xl network-attach` behind the domain.
 *
 * \param dialect `XENNET_DIALECT_*`.
 * \param args The arguments, each with a final zero.
 * \param count How many.
 * \param document Gets a JSON document: `{"value": {...}, "notes": []}`; `value` is what `xennet_host_attach` takes.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`.
 */
xennet_error *xennet_attach_parse(uint32_t dialect, char *const *args, size_t count, xennet_text **document);

/**
 * Reads the value of `rate=`, for example "10Mb/s@20ms".
 *
 * \param dialect `XENNET_DIALECT_*`.
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"value": {"bytes_per_interval", "interval_usecs", "backend_rate"}, "notes": []}`.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_rate_parse(uint32_t dialect,
                                const char *text,
                                size_t text_len,
                                xennet_text **document);

/**
 * Reads the value of `mac=`.
 *
 * \param dialect `XENNET_DIALECT_*`.
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"value": {"mac", "multicast", "local", "xen_oui"}, "notes": []}`.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_mac_parse(uint32_t dialect, const char *text, size_t text_len, xennet_text **document);

/**
 * Reads the value of `vlan=`, for example "10p/20".
 *
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"value": {"pvid", "tagged", "untagged", "text"}, "notes": []}`.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_vlan_parse(const char *text, size_t text_len, xennet_text **document);

/**
 * Reads the text of a `xend-config.sxp`, of Xen up to 4.4.
 *
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"value": {"network_argv", "vif_script"}, "notes": []}`: what xend ran to make the network (null if
 *   nothing), and the script of each vif.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_xend_config_parse(const char *text,
                                       size_t text_len,
                                       xennet_text **document);

/**
 * Makes a `networks.toml` of what Xen up to 4.4 had. Uses its arguments alone; nothing on this host is read.
 *
 * \param input A JSON document: `{"config": {"path", "text"}, "wrappers": [{"path", "text"}], "xen": "4.1", "uplink": "eth0"}`, all of it optional:
 *   `xend-config.sxp`; wrapper scripts, in the order in which they count; the version of Xen whose defaults are meant; the link of the default
 *   route. A path is for messages only.
 * \param input_len Its length in bytes.
 * \param document Gets a JSON document: `{"networks": [], "text", "notes": []}`: the networks, the text of `networks.toml` for them, and what was
 *   dropped, guessed or is done otherwise.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where a text is wrong.
 */
xennet_error *xennet_import(const char *input,
                            size_t input_len,
                            xennet_text **document);

/**
 * How many steps there are; 0 if everything is as wanted already.
 */
size_t xennet_plan_len(const xennet_plan *plan);

/**
 * The plan for people: a line for each step, with its sign (+ new, ~ changed, - removed) and its reason, without a final
 * newline; "nothing to do" for an empty plan. It lives until `xennet_plan_free`.
 *
 * \return NULL if `plan` is NULL.
 */
const char *xennet_plan_text(const xennet_plan *plan);

/**
 * The plan as a JSON document: `{"request": {}, "steps": [{"sign", "text", "why", "effects", "step"}], "notes": []}`, which
 * `xennet_host_apply_json` carries out. It lives until `xennet_plan_free`.
 *
 * \return NULL if `plan` is NULL.
 */
const char *xennet_plan_json(const xennet_plan *plan);

/**
 * Frees a plan. NULL is fine.
 */
void xennet_plan_free(xennet_plan *plan);

/**
 * New settings: each has its default.
 *
 * \param settings Gets the settings.
 * \return NULL on success.
 */
xennet_error *xennet_settings_new(xennet_settings **settings);

/**
 * Where journals, locks and records are kept. By default `/run/xennet`, and of a rehearsal nowhere: it is in memory. With one, a rehearsal is kept
 * there, so that another process finds what this one has done.
 *
 * \param settings The settings.
 * \param path The path, without final zero.
 * \param path_len Its length in bytes.
 * \return NULL on success; else `XENNET_KIND_INVALID` for an empty path, or one with a zero byte in it.
 */
xennet_error *xennet_settings_state_dir(xennet_settings *settings,
                                        const char *path,
                                        size_t path_len);

/**
 * How long a call waits for another process that works on the same vif, bridge or network. By default 10 s.
 *
 * \param settings The settings.
 * \param milliseconds The time; 0 for not at all.
 * \return NULL on success.
 */
xennet_error *xennet_settings_lock_deadline(xennet_settings *settings, uint32_t milliseconds);

/**
 * How long all that one call waits for may take together: locks, links, a dnsmasq that is started anew. By default there is no such limit, and
 * each wait has its own.
 *
 * \param settings The settings.
 * \param milliseconds The time; 0 for no limit.
 * \return NULL on success.
 */
xennet_error *xennet_settings_budget(xennet_settings *settings,
                                     uint32_t milliseconds);

/**
 * Whether guests are bound to their MACs where their vif lines declare no addresses.
 *
 * \param settings The settings.
 * \param binding `XENNET_MAC_BINDING_*`.
 * \return NULL on success.
 */
xennet_error *xennet_settings_mac_binding(xennet_settings *settings, uint32_t binding);

/**
 * What a rehearsal begins with.
 *
 * \param settings The settings.
 * \param world `XENNET_WORLD_*`.
 * \return NULL on success.
 */
xennet_error *xennet_settings_world(xennet_settings *settings, uint32_t world);

/**
 * Lets a rehearsal begin with a recorded host: the same objects, records and networks.
 *
 * \param settings The settings.
 * \param recording A JSON document of `xennet_host_record` or `xennet record`.
 * \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
 * \return NULL on success; `XENNET_KIND_INVALID` for a text that is no recording, or one of another version.
 */
xennet_error *xennet_settings_recording(xennet_settings *settings, const char *recording, size_t recording_len);

/**
 * What goes wrong in a rehearsal in memory. Steps are counted from 0, from when the host is opened.
 *
 * \param settings The settings.
 * \param faults A JSON document, a list of `{"fail-at": {"step": 1, "errno": 16}}`, `{"half-apply": {"step": 1}}`, `{"lie-once": {"step": 1}}`,
 *   `{"crash-after": {"step": 1}}`, `{"dump-interrupted": {"times": 2}}`, `{"intruder": {"before": 1, "does": STEP}}`, where `STEP` is a
 *   `step` of a plan's document.
 * \param faults_len Its length in bytes.
 * \return NULL on success; `XENNET_KIND_INVALID` for a text that is no such list.
 */
xennet_error *xennet_settings_faults(xennet_settings *settings,
                                     const char *faults,
                                     size_t faults_len);

/**
 * Sets the function that gets the log messages of calls on the host.
 *
 * The thread that called the library calls it, before that call returns and after the host's lock is released: the function may use the host. It must
 * return: no `longjmp`, no exception (one that leaves it ends the program), no `pthread_exit`. Several threads may be in it at once. Its
 * arguments live until it returns.
 *
 * \param settings The settings.
 * \param function Gets `context`, the level (`XENNET_LOG_*`), a sentence, and a JSON document: `{"event", "call", ...}`, where `event` is "step"
 *   (`number`, `text`), "note" (`text`), "done" (`took_us`) or "failed" (`took_us`, `error`). NULL for no function.
 * \param context What the function gets as its first argument. It has to live as long as hosts that were opened with these settings.
 * \return NULL on success.
 */
xennet_error *xennet_settings_log(xennet_settings *settings,
                                  xennet_log function,
                                  void *context);

/**
 * Frees settings. Hosts that were opened with them stay open. NULL is fine.
 */
void xennet_settings_free(xennet_settings *settings);

/**
 * Opens a host.
 *
 * \param settings How; NULL for the defaults.
 * \param backend `XENNET_BACKEND_*`. The kernel's networking is that of the calling thread's network namespace, and the handle stays in it.
 * \param host Gets the handle.
 * \return NULL on success; else `XENNET_KIND_IO` or `XENNET_KIND_DENIED` if no netlink socket can be opened; `XENNET_KIND_INVALID` for settings
 *   that the backend cannot have; `XENNET_KIND_STATE_UNUSABLE` if the directory holds a rehearsal that cannot be read.
 */
xennet_error *xennet_host_new(const xennet_settings *settings,
                              uint32_t backend,
                              xennet_host **host);

/**
 * Opens the kernel's networking, in the calling thread's network namespace; the handle stays in that namespace.
 *
 * \param state_dir Where journals, locks and records are kept: a path without final zero; NULL for `/run/xennet`.
 * \param state_dir_len Its length in bytes; 0 for `/run/xennet`.
 * \param host Gets the handle.
 * \return NULL on success; else `XENNET_KIND_IO` or `XENNET_KIND_DENIED` if no netlink socket can be opened;
 *   `XENNET_KIND_INVALID` for a path with a zero byte in it.
 */
xennet_error *xennet_host_new_netlink(const char *state_dir, size_t state_dir_len, xennet_host **host);

/**
 * Opens a rehearsal in memory: a host with an uplink `eth0`, a bridge `xenbr0`, and a netback that makes a vif when it is
 * asked for. It needs no permission, and touches nothing real. Nothing outlives the handle.
 *
 * \param host Gets the handle.
 * \return NULL on success.
 */
xennet_error *xennet_host_new_fake(xennet_host **host);

/**
 * Closes a host. What was attached stays attached. NULL is fine. No other thread may be using it.
 *
 * It does not wait: where closing takes the kernel some milliseconds (what was removed from nftables), a thread of the library's
 * does it, which ends within a few tenths of a second. A program that ends earlier loses nothing.
 */
void xennet_host_free(xennet_host *host);

/**
 * What `xennet_host_attach` would do. Changes nothing.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
 * \param vif_len Its length in bytes.
 * \param plan Gets the plan.
 * \return NULL on success; else an error, for example `XENNET_KIND_INVALID`, `XENNET_KIND_LINK_NOT_FOUND`,
 *   `XENNET_KIND_BRIDGE_NOT_FOUND`, `XENNET_KIND_NOT_A_BRIDGE`, `XENNET_KIND_NAME_TAKEN`, `XENNET_KIND_PORT_OF_OTHER`.
 */
xennet_error *xennet_host_plan_attach(const xennet_host *host,
                                      uint32_t domid,
                                      const char *vif,
                                      size_t vif_len,
                                      xennet_plan **plan);

/**
 * Attaches a vif. In bridge mode it becomes a port of its bridge, up, with the backend's MAC and no addresses of its own. In NAT and
 * routed mode (`bridge=` names a started network of that mode, or `script=` is vif-nat or vif-route) it goes up with this domain's
 * address on it and a route to each of the guest's. With addresses in `ip=` the guest may send from these only. The state is
 * verified, or the earlier state is restored and the error says so (`xennet_error_state`). A second call with the same vif changes
 * nothing.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
 * \param vif_len Its length in bytes.
 * \param done Gets a JSON document, `{"steps": 3, "notes": []}`: how many steps were carried out, and what the caller should know
 *   besides, a sentence each. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_plan_attach`, or for example `XENNET_KIND_DENIED`,
 *   `XENNET_KIND_BUSY`, `XENNET_KIND_STATE_FULL`, `XENNET_KIND_KERNEL`, `XENNET_KIND_NOT_VERIFIED`.
 */
xennet_error *xennet_host_attach(const xennet_host *host,
                                 uint32_t domid,
                                 const char *vif,
                                 size_t vif_len,
                                 xennet_text **done);

/**
 * What `xennet_host_detach` would do. Changes nothing.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param devid The vif's index in the domain, 0 to 65535.
 * \param plan Gets the plan.
 * \return NULL on success.
 */
xennet_error *xennet_host_plan_detach(const xennet_host *host, uint32_t domid, uint32_t devid, xennet_plan **plan);

/**
 * Detaches a vif: takes it off its bridge, sets it down, and removes the addresses, routes and rules that were made for it. Succeeds if the vif is
 * gone already.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param devid The vif's index in the domain, 0 to 65535.
 * \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_attach`.
 */
xennet_error *xennet_host_detach(const xennet_host *host,
                                 uint32_t domid,
                                 uint32_t devid,
                                 xennet_text **done);

/**
 * What `xennet_host_ensure_bridge` would do. Changes nothing.
 *
 * \param host The host.
 * \param bridge A JSON document, as `xennet_host_ensure_bridge` takes it.
 * \param bridge_len Its length in bytes.
 * \param plan Gets the plan.
 * \return NULL on success.
 */
xennet_error *xennet_host_plan_bridge(const xennet_host *host,
                                      const char *bridge,
                                      size_t bridge_len,
                                      xennet_plan **plan);

/**
 * Makes sure that a bridge exists with these settings, and is up.
 *
 * \param host The host.
 * \param bridge A JSON document: `{"name": "xenbr0"}`, and where they matter `"stp"` (false unless given), `"mac"`,
 *   `"mtu"` (bytes), `"vlan_filtering"`, `"forward_delay_ms"` (0 unless given; 30000 at most, with `"stp"` 2000 at least). A setting that is
 *   left out keeps its value on a bridge that exists.
 * \param bridge_len Its length in bytes.
 * \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_attach`.
 */
xennet_error *xennet_host_ensure_bridge(const xennet_host *host,
                                        const char *bridge,
                                        size_t bridge_len,
                                        xennet_text **done);

/**
 * What there is: the vifs that were attached by xennet, and all bridges with their ports. Its cost grows with the host.
 *
 * \param host The host.
 * \param document Gets a JSON document: `{"vifs": [{"vif", "domid", "devid", "link", "mode", "network", "bridge", "up", "mtu", "spec",
 *   "obstacles", "missing"}], "bridges": [{"bridge", "mac", "mtu", "up", "ports"}]}`. Of a vif: `link` is its link's
 *   present name, or null if the link is gone; `mode` is "bridge", "nat" or "routed"; `network` is the started network that routes connect it to, or
 *   null; `bridge` is the bridge that it is a port of, or null; `spec` is the vif line that it was attached with; `obstacles` says what keeps
 *   packets from or to its guest: a newer guest with its addresses, another firewall; `missing` says what the vif needs and has lost, a text for
 *   each change that `xennet_host_recover` would make.
 * \return NULL on success.
 */
xennet_error *xennet_host_show(const xennet_host *host,
                               xennet_text **document);

/**
 * What the networking of this host is, in one document. Changes nothing. Its cost grows with the host.
 *
 * \param host The host.
 * \param document Gets a JSON document: the members of `xennet_host_show`, and `{"networks": [{"network", "mode", "state", "outside",
 *   "bridge", "subnets", "vifs", "missing", "elsewhere"}], "routes": [{"destination", "ways", "by"}], "guest_routes": 0, "filters":
 *   [{"table", "own", "rules", "drops"}], "made_by": {}, "managers": [], "picture": {"about", "uplinks", "hubs", "notes"}, "unseen": [{"what",
 *   "why"}]}`. `state` is "started", "damaged" or "unconfirmed" by what is there, or null if not all that it needs could be looked
 *   at; `made_by` says of each link who has made it; `managers` are programs that may take guests' links; the ports of the picture's hubs have
 *   guests' names, addresses, filters and counters; `unseen` is what could not be looked at.
 * \return NULL on success.
 */
xennet_error *xennet_host_overview(const xennet_host *host,
                                   xennet_text **document);

/**
 * The packets of guests that were dropped since their vifs were attached. Changes nothing. Its cost grows with the number of counts, not with
 * the host.
 *
 * \param host The host.
 * \param document Gets a JSON document: `{"violations": [{"link": "vif5.0", "violation": "mac", "packets": 3, "bytes": 180}]}`, by link and
 *   class. `violation` is "bridge-control", "vlan", "mac", "address", "protocol", "router", "dhcp-server", "unreadable", "closed",
 *   "isolated", "host" or "lan"; a later version may have more. `link` is the vif's link, its emulated twin's, or
 *   the private bridge that the guests share. `bytes` are without the ethernet headers.
 * \return NULL on success.
 */
xennet_error *xennet_host_violations(const xennet_host *host,
                                     xennet_text **document);

/**
 * Draws the networking of this host: outside, gateway, uplinks, bridges and routes, vifs, guests. Changes nothing.
 *
 * \param host The host.
 * \param form "text" (100 columns), "svg", "dot", "mermaid", or "json" for the model.
 * \param form_len Its length in bytes.
 * \param picture Gets the picture in that form.
 * \return NULL on success; else `XENNET_KIND_INVALID` for another form.
 */
xennet_error *xennet_host_picture(const xennet_host *host, const char *form, size_t form_len, xennet_text **picture);

/**
 * Carries out a plan exactly as it was shown, or changes nothing and says what differs by now. The host plans again and compares the steps; if they
 * are the same, it carries them out as the function would that the plan is of. The host need not be the one that made the plan.
 *
 * \param host The host.
 * \param plan The plan.
 * \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
 * \return NULL on success; else `XENNET_KIND_STALE` if the steps differ by now, and nothing was changed; or an error as of the
 *   function that the plan is of.
 */
xennet_error *xennet_host_apply(const xennet_host *host,
                                const xennet_plan *plan,
                                xennet_text **done);

/**
 * Does what `xennet_host_apply` does with a plan that was kept as a JSON document (`xennet_plan_json`), perhaps by another process.
 *
 * \param host The host.
 * \param json The document.
 * \param json_len Its length in bytes.
 * \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_apply`, or `XENNET_KIND_INVALID` if it is no document of a plan.
 */
xennet_error *xennet_host_apply_json(const xennet_host *host,
                                     const char *json,
                                     size_t json_len,
                                     xennet_text **done);

/**
 * What `xennet_host_undo` would do. Changes nothing.
 *
 * \param host The host.
 * \param subject `vif5.0`, a bridge's name or `bridge-NAME`, or `network-NAME`; NULL for whatever was changed last.
 * \param subject_len Its length in bytes; 0 for whatever was changed last.
 * \param plan Gets the plan.
 * \return NULL on success; else an error, for example `XENNET_KIND_NOTHING_TO_UNDO`, or `XENNET_KIND_CONFLICT` if others use by now
 *   what undoing would remove.
 */
xennet_error *xennet_host_plan_undo(const xennet_host *host,
                                    const char *subject,
                                    size_t subject_len,
                                    xennet_plan **plan);

/**
 * Puts back what was there before the last operation on a vif, a bridge or a network.
 *
 * \param host The host.
 * \param subject `vif5.0`, a bridge's name or `bridge-NAME`, or `network-NAME`; NULL for whatever was changed last.
 * \param subject_len Its length in bytes; 0 for whatever was changed last.
 * \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_NOTHING_TO_UNDO`.
 */
xennet_error *xennet_host_undo(const xennet_host *host, const char *subject, size_t subject_len, xennet_text **done);

/**
 * What `xennet_host_recover` would do, for each vif, bridge and network of which an operation was interrupted or which lacks something.
 * Changes nothing.
 *
 * \param host The host.
 * \param document Gets a JSON document: `{"version": 1, "plans": [{"subject": "vif5.0", "plan": {}, "error": null}]}`. `plan` is a document as of
 *   `xennet_plan_json`, which `xennet_host_apply_json` carries out; where it has no steps its notes say what is to be done. `error` is
 *   what stands in the way of this one, a document as of `xennet_error_json`; then `plan` is null.
 * \return NULL on success; else an error, for example `XENNET_KIND_STATE_UNUSABLE`.
 */
xennet_error *xennet_host_plan_recover(const xennet_host *host,
                                       xennet_text **document);

/**
 * Closes every operation that a crash left open: finished if its goal had been reached, else undone. The other functions
 * do the same for the vif, bridge or network they are about. Then puts back what somebody has taken away of what started networks and
 * attached vifs need: rules and elements of nft tables, ports, names, routes, settings.
 *
 * \param host The host.
 * \param document Gets a JSON document: `{"version": 1, "recovered": [{"subject": "vif5.0", "outcome": "restored", "steps": 2}]}`;
 *   `outcome` is "finished", "restored", "gone", "cleared", "mended" (`done`: what was put back, a text each) or "left" (`why`: what stands
 *   in the way), a bridge is `bridge-NAME`, a network `network-NAME`.
 * \return NULL on success; else for example `XENNET_KIND_INTERRUPTED` if a state cannot be put back.
 */
xennet_error *xennet_host_recover(const xennet_host *host,
                                  xennet_text **document);

/**
 * Makes a veth pair in a sandbox (`XENNET_BACKEND_SANDBOX`): one end stands for the vif that netback makes on a Xen host, the other for the
 * guest's.
 *
 * \param host The host.
 * \param name The name of one link, for example `vif5.0`.
 * \param name_len Its length in bytes.
 * \param peer The name of the other link: the guest's end.
 * \param peer_len Its length in bytes.
 * \return NULL on success; else `XENNET_KIND_UNSUPPORTED` for a host that is no sandbox, `XENNET_KIND_KERNEL` if the kernel refuses it.
 */
xennet_error *xennet_host_make_cable(const xennet_host *host,
                                     const char *name,
                                     size_t name_len,
                                     const char *peer,
                                     size_t peer_len);

/**
 * Attaches the emulated twin of a vif (`vif5.0-emu`) as `xennet_host_attach` does the vif.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param vif As of `xennet_host_attach`.
 * \param vif_len Its length in bytes.
 * \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_INVALID` where the tap's name would be too long.
 */
xennet_error *xennet_host_attach_tap(const xennet_host *host,
                                     uint32_t domid,
                                     const char *vif,
                                     size_t vif_len,
                                     xennet_text **done);

/**
 * Detaches the emulated twin of a vif. Succeeds if it is gone already.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param devid The vif's index in the domain, 0 to 65535.
 * \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_detach`.
 */
xennet_error *xennet_host_detach_tap(const xennet_host *host, uint32_t domid, uint32_t devid, xennet_text **done);

/**
 * Detaches a link of a vif where the state directory cannot be written to, as on a full disk. Removes what xennet has made for the link, as far as
 * that can be known without a record.
 *
 * \param host The host.
 * \param domid The domain's number, 0 to 32751.
 * \param devid The vif's index in the domain, 0 to 65535.
 * \param link `XENNET_LINK_VIF` or `XENNET_LINK_TAP`.
 * \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_detach`.
 */
xennet_error *xennet_host_detach_unwritten(const xennet_host *host,
                                           uint32_t domid,
                                           uint32_t devid,
                                           uint32_t link,
                                           xennet_text **done);

/**
 * Reads the text of a `networks.toml`. The networks in it do not contradict each other.
 *
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"networks": [{"name", "mode"}]}`, in the order of the text; `mode` is "bridge", "nat"
 *   or "routed", and what belongs to the mode stands beside it. Each item is what `xennet_host_start_network` takes.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_networks_parse(const char *text,
                                    size_t text_len,
                                    xennet_text **document);

/**
 * Reads the text of a `networks.toml`, and gives one of its networks.
 *
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param name The network's name.
 * \param name_len Its length in bytes.
 * \param document Gets the JSON document of the network, which `xennet_host_start_network` takes.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, as of `xennet_networks_parse`, or because there is no
 *   network of this name.
 */
xennet_error *xennet_networks_get(const char *text,
                                  size_t text_len,
                                  const char *name,
                                  size_t name_len,
                                  xennet_text **document);

/**
 * What `xennet_host_start_network` would do. Changes nothing.
 *
 * \param host The host.
 * \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
 * \param network_len Its length in bytes.
 * \param plan Gets the plan.
 * \return NULL on success; else an error, for example `XENNET_KIND_INVALID`, `XENNET_KIND_LINK_NOT_FOUND`,
 *   `XENNET_KIND_PORT_OF_OTHER`, `XENNET_KIND_NOT_A_BRIDGE`.
 */
xennet_error *xennet_host_plan_start(const xennet_host *host,
                                     const char *network,
                                     size_t network_len,
                                     xennet_plan **plan);

/**
 * Starts a network: its bridge and what its uplink had of its own, this domain's addresses in it, the settings it needs, and
 * what its guests are served by. The state is verified, or the earlier state is restored and the error says so
 * (`xennet_error_state`). Of a network that is started already, what it lacks comes back; nothing is changed where nothing is
 * missing. One that is described otherwise by now takes over, while its guests stay: port forwards, DHCP and names, and subnets in
 * addition to those that it has.
 *
 * \param host The host.
 * \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
 * \param network_len Its length in bytes.
 * \param done Gets a JSON document, `{"steps": 9, "notes": []}`: how many steps were carried out, and what the caller should know
 *   besides, a sentence each. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_plan_start` or of `xennet_host_attach`, or `XENNET_KIND_CONFLICT` if a
 *   network of this name is started that was described otherwise in anything else.
 */
xennet_error *xennet_host_start_network(const xennet_host *host,
                                        const char *network,
                                        size_t network_len,
                                        xennet_text **done);

/**
 * What `xennet_host_stop_network` would do. Changes nothing.
 *
 * \param host The host.
 * \param name The network's name.
 * \param name_len Its length in bytes.
 * \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
 * \param plan Gets the plan; NULL for a network that is not started, of which there is nothing to stop.
 * \return NULL on success; else an error, for example `XENNET_KIND_CONFLICT` if guests are still connected that must have gone.
 */
xennet_error *xennet_host_plan_stop(const xennet_host *host,
                                    const char *name,
                                    size_t name_len,
                                    uint32_t guests,
                                    xennet_plan **plan);

/**
 * Stops a network: restores what starting it has changed, and nothing else. Succeeds if the network is not started.
 *
 * \param host The host.
 * \param name The network's name.
 * \param name_len Its length in bytes.
 * \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
 * \param done Gets a JSON document, `{"steps": 9, "notes": []}`. May be NULL.
 * \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_CONFLICT` if guests are still connected that
 *   must have gone.
 */
xennet_error *xennet_host_stop_network(const xennet_host *host,
                                       const char *name,
                                       size_t name_len,
                                       uint32_t guests,
                                       xennet_text **done);

/**
 * The networks that are started, in the order in which they can be stopped: a network comes before the bridge through which it reaches the outside.
 *
 * \param host The host.
 * \param document Gets a JSON document: `{"networks": [{"name", "mode"}]}`, each as of `xennet_networks_parse`, as it was described when it was
 *   started.
 * \return NULL on success.
 */
xennet_error *xennet_host_started_networks(const xennet_host *host,
                                           xennet_text **document);

/**
 * Starts several networks in the order in which they depend on each other. If one cannot be started, the others are started all the same. One that
 * conflicts with another network is tried again after others were started.
 *
 * \param host The host.
 * \param networks The JSON document of `xennet_networks_parse`.
 * \param networks_len Its length in bytes.
 * \param document Gets a JSON document: `{"networks": [{"network", "steps", "notes"}], "failed": [{"network", "error"}]}`; `error` is a document as of
 *   `xennet_error_json`.
 * \return NULL on success, which is also when some are in `failed`; else `XENNET_KIND_INVALID` for a text that is no such document.
 */
xennet_error *xennet_host_start_networks(const xennet_host *host,
                                         const char *networks,
                                         size_t networks_len,
                                         xennet_text **document);

/**
 * Stops all networks that are started on the host, also those that another program started, in the order of `xennet_host_started_networks`. If one
 * cannot be stopped, the others are stopped all the same.
 *
 * \param host The host.
 * \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
 * \param document Gets a JSON document: `{"networks": [{"network", "steps", "notes"}], "failed": [{"network", "error"}]}`.
 * \return NULL on success, which is also when some are in `failed`.
 */
xennet_error *xennet_host_stop_networks(const xennet_host *host,
                                        uint32_t guests,
                                        xennet_text **document);

/**
 * How a network is, compared with how it was described. Changes nothing.
 *
 * \param host The host.
 * \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
 * \param network_len Its length in bytes.
 * \param document Gets a JSON document: `{"network", "mode", "state", "started", "outside", "changed", "needs_stop", "missing",
 *   "ports", "access", "elsewhere", "obstacles"}`: `state` is "stopped", "started", "damaged" (something is missing) or "unconfirmed" (its last start
 *   waits for a confirmation); `outside` is the link towards the outside that was found at start, of a bridge its uplink, or null; `changed`
 *   has the keys of networks.toml whose values differ from those at start, `needs_stop` those of them that starting it once more does not
 *   apply; `missing` says what is not as it was made, a sentence each; `ports` are the ports of the network's bridge, or, where it has none,
 *   the links of its guests; `access` says who reaches whom by its keys, a sentence each; `elsewhere` has the commands that the gateway outside needs to reach guests of a routed network; `obstacles` says
 *   what keeps packets from guests: what other firewalls drop, unless a rule there accepts it, and VLANs of guests that the bridge's uplink is not in.
 * \return NULL on success.
 */
xennet_error *xennet_host_network_status(const xennet_host *host,
                                         const char *network,
                                         size_t network_len,
                                         xennet_text **document);

/**
 * Runs the guard of a network's start: waits for `xennet_host_confirm`, and undoes the start if that does not come in time. Call it in a process of
 * its own that outlives the caller of `xennet_host_start_guarded`: a child that is forked before the caller has threads, or another program.
 * Returns when the start is confirmed or undone, or when there is nothing to undo.
 *
 * The two processes talk over two pipes. `xennet network guard NAME SECONDS` is such a process, too: `hears` is its standard input, `says` its
 * standard output.
 *
 * \param settings How a host is opened: its state directory is that of the host that starts the network. NULL for the defaults.
 * \param backend `XENNET_BACKEND_*`, as of that host: `XENNET_BACKEND_NETLINK`, or `XENNET_BACKEND_FAKE` with a state directory.
 * \param name The network's name.
 * \param name_len Its length in bytes.
 * \param seconds How long the guard waits for a confirmation after the network is started.
 * \param hears The read end of the pipe over which the guard gets the outcome of the start. Close the write end in this process first.
 * \param says The write end of the pipe over which the guard says that it is ready.
 * \param verdict Gets `XENNET_VERDICT_*`.
 * \return NULL on success; else `XENNET_KIND_UNSUPPORTED` for a backend whose changes no other process can undo; `XENNET_KIND_CONFLICT` if another
 *   guard waits for a confirmation of the same network; an error as of `xennet_host_undo` if the start could not be undone.
 */
xennet_error *xennet_guard(const xennet_settings *settings,
                           uint32_t backend,
                           const char *name,
                           size_t name_len,
                           uint32_t seconds,
                           int32_t hears,
                           int32_t says,
                           uint32_t *verdict);

/**
 * Starts a network under a guard (`xennet_guard`): waits until the guard is ready, starts the network, and tells the guard the outcome. Close both
 * descriptors afterwards. While it waits for the guard, other threads may use the host.
 *
 * \param host The host.
 * \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
 * \param network_len Its length in bytes.
 * \param said The read end of the pipe whose write end is the guard's `says`.
 * \param hears The write end of the pipe whose read end is the guard's `hears`.
 * \param done Gets a JSON document, `{"steps": 9, "notes": []}`. May be NULL.
 * \return NULL on success; else the guard's error if it is not ready, and nothing was changed; `XENNET_KIND_UNSUPPORTED` for a sandbox, or a
 *   rehearsal in memory, of which no other process can undo anything; or an error as of `xennet_host_start_network`.
 */
xennet_error *xennet_host_start_guarded(const xennet_host *host,
                                        const char *network,
                                        size_t network_len,
                                        int32_t said,
                                        int32_t hears,
                                        xennet_text **done);

/**
 * Confirms the last start of a network: it stays.
 *
 * \param host A host with the same state directory.
 * \param name The network's name.
 * \param name_len Its length in bytes.
 * \return NULL on success; else `XENNET_KIND_NOTHING_TO_UNDO` if no guard waits for a confirmation of this network.
 */
xennet_error *xennet_host_confirm(const xennet_host *host, const char *name, size_t name_len);

/**
 * The networks whose last start waits for a confirmation.
 *
 * \param host A host with the same state directory.
 * \param document Gets a JSON document: `{"awaited": ["lan"]}`.
 * \return NULL on success.
 */
xennet_error *xennet_host_awaited(const xennet_host *host, xennet_text **document);

/**
 * Waits until a link of this name exists.
 *
 * \param host The host. Other threads' calls on it wait meanwhile.
 * \param link The link's name.
 * \param link_len Its length in bytes.
 * \param milliseconds How long to wait for it at most.
 * \param came Gets 1 if there is one, else 0.
 * \return NULL on success.
 */
xennet_error *xennet_host_await_link(const xennet_host *host,
                                     const char *link,
                                     size_t link_len,
                                     uint32_t milliseconds,
                                     uint32_t *came);

/**
 * Says whether there is a bridge of this name.
 *
 * \param host The host.
 * \param name The name.
 * \param name_len Its length in bytes.
 * \param is Gets 1 if there is one, else 0.
 * \return NULL on success.
 */
xennet_error *xennet_host_is_bridge(const xennet_host *host, const char *name, size_t name_len, uint32_t *is);

/**
 * The link of the default route with the lowest metric, of IPv4, or else of IPv6.
 *
 * \param host The host.
 * \param link Gets its name; NULL if there is no default route.
 * \return NULL on success.
 */
xennet_error *xennet_host_default_route_link(const xennet_host *host, xennet_text **link);

/**
 * The uplink of a started network's bridge. A link that is not such a bridge is its own uplink.
 *
 * \param host The host.
 * \param link The link's name.
 * \param link_len Its length in bytes.
 * \param uplink Gets the uplink's name; NULL for a bridge that has none.
 * \return NULL on success.
 */
xennet_error *xennet_host_uplink_of(const xennet_host *host, const char *link, size_t link_len, xennet_text **uplink);

/**
 * What was changed last, which `xennet_host_undo` with NULL as its subject would undo.
 *
 * \param host The host.
 * \param subject Gets `vif5.0`, `bridge-NAME` or `network-NAME`; NULL if nothing is recorded.
 * \return NULL on success.
 */
xennet_error *xennet_host_last(const xennet_host *host, xennet_text **subject);

/**
 * Does the work of one of Xen's vif scripts (`vif-bridge`, `vif-nat`, `vif-route`). Call it from `main` with the arguments of `main`.
 *
 * It reads the call, the vif's directory in xenstore and `hotplug.toml`, attaches or detaches the vif, runs the hooks, writes the answer to
 * xenstore and the logs, and prints errors on standard error. A call that fails restores the earlier state, or says that it could not.
 *
 * Return the result from `main` at once: where the kernel needs some milliseconds to clean up, a child process does that, which ends within
 * some tenths of a second after the program.
 *
 * \param argc How many arguments there are, with the program's name.
 * \param argv The arguments. The first one names the script: `vif-bridge`, `vif-nat` or `vif-route`, with or without a path and the prefix
 *   `xennet-`; any other name means `vif-bridge`.
 * \param envp The environment, ended by NULL, each `NAME=value`; NULL for the process's own.
 * \return The exit status, 0 or 1, as that of the scripts.
 */
int32_t xennet_hotplug(int32_t argc,
                       char *const *argv,
                       char *const *envp);

/**
 * Does the same for a program that reports the result itself and goes on.
 *
 * \param argc As of `xennet_hotplug`.
 * \param argv As of `xennet_hotplug`.
 * \param envp As of `xennet_hotplug`.
 * \param record Gets a JSON document, that of the call in the log of hotplug calls: `{"xennet": 1, "time_us", "pid", "script", "verb", "type_if",
 *   "vif", "xenbus_path", "outcome", "link", "bridge", "mtu", "plan", "notes", "timings", "total_us"}`; `outcome` is "connected" or "detached". NULL
 *   for a call that has nothing to do (`online type_if=tap`). May be NULL.
 * \return NULL on success; else what went wrong, which stands in xenstore, too, where somebody waits for it.
 */
xennet_error *xennet_hotplug_call(int32_t argc,
                                  char *const *argv,
                                  char *const *envp,
                                  xennet_text **record);

/**
 * Reads the text of a `hotplug.toml`.
 *
 * \param text The text, UTF-8.
 * \param text_len Its length in bytes.
 * \param document Gets a JSON document: `{"deadline", "hooks", "hook_deadline", "log_file", "syslog", "state_dir", "bind_mac", "isolated"}`, as in
 *   the file; what the file does not say has its default.
 * \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
 */
xennet_error *xennet_hotplug_parse(const char *text,
                                   size_t text_len,
                                   xennet_text **document);

/**
 * Connects to xenstored.
 *
 * \param path The socket or device; NULL for the places where libxenstore looks, which its variables `XENSTORED_PATH` and `XENSTORED_RUNDIR` change.
 * \param path_len Its length in bytes; 0 for these places.
 * \param milliseconds How long a request and its answer may take, and a whole transaction; 0 for 10 s.
 * \param store Gets the handle.
 * \return NULL on success; else `XENNET_KIND_XENSTORE`, with every place that was tried.
 */
xennet_error *xennet_store_new(const char *path,
                               size_t path_len,
                               uint32_t milliseconds,
                               xennet_store **store);

/**
 * Closes a connection. A transaction that is open is given up, and watches end. NULL is fine. No other thread may be using it.
 */
void xennet_store_free(xennet_store *store);

/**
 * Reads the value of a node.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param value Gets the bytes of the value as they are; NULL if there is no such node.
 * \return NULL on success; else `XENNET_KIND_XENSTORE`; `XENNET_KIND_INVALID` for a text that is no path of xenstore.
 */
xennet_error *xennet_store_read(const xennet_store *store, const char *path, size_t path_len, xennet_text **value);

/**
 * Sets the value of a node. Creates the node and its parents if they do not exist.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param value The bytes.
 * \param value_len How many.
 * \return NULL on success; else an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_write(const xennet_store *store,
                                 const char *path,
                                 size_t path_len,
                                 const char *value,
                                 size_t value_len);

/**
 * Creates a node with an empty value, and its parents. A node that exists is left as it is.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \return NULL on success; else an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_mkdir(const xennet_store *store, const char *path, size_t path_len);

/**
 * Removes a node and all nodes below it. Succeeds if there is no such node.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \return NULL on success; else an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_remove(const xennet_store *store, const char *path, size_t path_len);

/**
 * Lists the children of a node.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param document Gets a JSON document, `{"children": ["0", "1"]}`; NULL if there is no such node.
 * \return NULL on success; else an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_directory(const xennet_store *store,
                                     const char *path,
                                     size_t path_len,
                                     xennet_text **document);

/**
 * Reads the permissions of a node.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param document Gets a JSON document, `{"permissions": [{"domid": 0, "read": false, "write": false}]}`: the first names the owner, and
 *   says what domains that are not in the list may do. NULL if there is no such node.
 * \return NULL on success; else an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_permissions(const xennet_store *store,
                                       const char *path,
                                       size_t path_len,
                                       xennet_text **document);

/**
 * Sets the permissions of a node.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param permissions A JSON document, the list of `xennet_store_permissions`: `[{"domid": 0, "read": true, "write": false}]`.
 * \param permissions_len Its length in bytes.
 * \return NULL on success; else an error as of `xennet_store_read`; `ENOENT` if there is no such node.
 */
xennet_error *xennet_store_set_permissions(const xennet_store *store,
                                           const char *path,
                                           size_t path_len,
                                           const char *permissions,
                                           size_t permissions_len);

/**
 * Opens a transaction on the connection: what is read and written from now on is in it, until `xennet_store_commit` or
 * `xennet_store_abort`.
 *
 * \param store The connection.
 * \return NULL on success; else `XENNET_KIND_INVALID` if one is open already; an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_begin(const xennet_store *store);

/**
 * Commits what was written since `xennet_store_begin`, all at once. The transaction ends, whatever the result.
 *
 * \param store The connection.
 * \param committed Gets 1; 0 if another client has changed what the transaction read or wrote: then nothing was written, and the caller begins a
 *   new transaction.
 * \return NULL on success; else `XENNET_KIND_INVALID` if none is open; an error as of `xennet_store_read`.
 */
xennet_error *xennet_store_commit(const xennet_store *store,
                                  uint32_t *committed);

/**
 * Ends the transaction and discards what was written since `xennet_store_begin`.
 *
 * \param store The connection.
 * \return NULL on success; else an error as of `xennet_store_commit`.
 */
xennet_error *xennet_store_abort(const xennet_store *store);

/**
 * Watches a node and all nodes below it, or `\@introduceDomain` or `\@releaseDomain`. The first event comes at once.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param token A word that comes with each event.
 * \param token_len Its length in bytes.
 * \return NULL on success; else an error as of `xennet_store_read`; `EEXIST` for a path and token that are watched already.
 */
xennet_error *xennet_store_watch(const xennet_store *store,
                                 const char *path,
                                 size_t path_len,
                                 const char *token,
                                 size_t token_len);

/**
 * Removes a watch. Events that xenstored has sent already may still come.
 *
 * \param store The connection.
 * \param path The node.
 * \param path_len Its length in bytes.
 * \param token The token that `xennet_store_watch` was given.
 * \param token_len Its length in bytes.
 * \return NULL on success; else an error as of `xennet_store_read`; `ENOENT` if there is no such watch.
 */
xennet_error *xennet_store_unwatch(const xennet_store *store,
                                   const char *path,
                                   size_t path_len,
                                   const char *token,
                                   size_t token_len);

/**
 * The descriptor to poll for events: it is readable when xenstored has sent something. It belongs to the connection: do not read from it or close it.
 *
 * Before polling, call `xennet_store_next_event` until it gives NULL: the library may have read events along with an answer.
 *
 * \return -1 if `store` is NULL.
 */
int32_t xennet_store_fd(const xennet_store *store);

/**
 * The next event of a watch.
 *
 * \param store The connection.
 * \param milliseconds How long to wait for one; 0 for not at all.
 * \param document Gets a JSON document, `{"path": "backend/vif/5/0/state", "token": "mine"}`; NULL if none came within this time. The path is
 *   relative if that of the watch is.
 * \return NULL on success; else an error as of `xennet_store_read`; once, with `ENOBUFS`, if so many events came between two calls that some were
 *   thrown away: look at everything anew.
 */
xennet_error *xennet_store_next_event(const xennet_store *store,
                                      uint32_t milliseconds,
                                      xennet_text **document);

/**
 * The home of a domain: `/local/domain/5`. Says nothing about whether the domain exists.
 *
 * \param store The connection.
 * \param domid The domain's number, 0 to 32751.
 * \param path Gets the path.
 * \return NULL on success; else an error as of `xennet_store_read`; `XENNET_KIND_INVALID` for a number that no domain has.
 */
xennet_error *xennet_store_domain_path(const xennet_store *store,
                                       uint32_t domid,
                                       xennet_text **path);

/**
 * Begins to listen to what happens to links, in the calling thread's network namespace.
 *
 * \param links Gets the handle.
 * \return NULL on success; else `XENNET_KIND_IO` if the kernel gives no socket.
 */
xennet_error *xennet_links_new(xennet_links **links);

/**
 * Ends listening. NULL is fine. No other thread may be using it.
 */
void xennet_links_free(xennet_links *links);

/**
 * The descriptor to poll: it is readable when something has happened. It belongs to the handle: do not read from it or close it.
 *
 * Before polling, call `xennet_links_next_event` until it gives NULL: one read may bring several events.
 *
 * \return -1 if `links` is NULL.
 */
int32_t xennet_links_fd(const xennet_links *links);

/**
 * The next event of a link.
 *
 * \param links The handle.
 * \param milliseconds How long to wait for one; 0 for not at all.
 * \param document Gets a JSON document, `{"event": "appeared", "link": "vif5.0", "index": 7, "up": false, "carrier": false, "mtu": 1500, "mac":
 *   "fe:ff:ff:ff:ff:ff", "master": null}`; NULL if nothing has happened within this time. `event` is "appeared", "changed", "gone", or "lost": so
 *   much happened at once that some of it was not told, and everything is to be looked at anew. `index` stays the same when a link is renamed;
 *   `master` is that of the bridge that it is a port of.
 * \return NULL on success; else `XENNET_KIND_IO` if the kernel cannot be heard.
 */
xennet_error *xennet_links_next_event(const xennet_links *links,
                                      uint32_t milliseconds,
                                      xennet_text **document);

/**
 * Makes the network configuration of a guest in the format of its own system. Uses its arguments alone; nothing on the host is read.
 *
 * \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
 * \param vif_len Its length in bytes.
 * \param network The JSON document of the network that the vif is in, an item of what `xennet_networks_parse` gives; NULL for a bridge
 *   that belongs to no network.
 * \param network_len Its length in bytes.
 * \param wish A JSON document of facts about the guest's LAN and the guest, all of them optional: `{"prefix": ["192.168.0.0/24"],
 *   "gateway": ["192.168.0.1"], "no_gateway": false, "dns": [], "search": [], "dhcp": false, "interface": "eth0"}`; NULL for nothing.
 * \param wish_len Its length in bytes.
 * \param format The format's name: "ifupdown", "netplan", "cloud-init-v1", "cloud-init-v2", "networkd", "networkmanager", "kernel",
 *   "alpine", "freebsd", "netsh".
 * \param format_len Its length in bytes.
 * \param document Gets a JSON document: `{"format", "files": [{"path", "mode", "text"}], "notes": [], "config": {...}}`. `path` is absolute
 *   in the guest, or null if the text is no file there; `notes` say what the format cannot express, and what the guest needs.
 * \return NULL on success; else `XENNET_KIND_INVALID` if something that the guest needs is not known or contradicts something else,
 *   `XENNET_KIND_UNSUPPORTED` if the format cannot say it.
 */
xennet_error *xennet_guest_config(const char *vif,
                                  size_t vif_len,
                                  const char *network,
                                  size_t network_len,
                                  const char *wish,
                                  size_t wish_len,
                                  const char *format,
                                  size_t format_len,
                                  xennet_text **document);

/**
 * The same for a vif that this host has attached or will attach; its network is the started one that it belongs to.
 *
 * \param host The host.
 * \param vif `vif5.0` for an attached vif, else as of `xennet_guest_config`.
 * \param vif_len Its length in bytes.
 * \param wish As of `xennet_guest_config`.
 * \param wish_len Its length in bytes.
 * \param format As of `xennet_guest_config`.
 * \param format_len Its length in bytes.
 * \param document As of `xennet_guest_config`.
 * \return NULL on success; else as of `xennet_guest_config`, and `XENNET_KIND_INVALID` if there is no record of the vif.
 */
xennet_error *xennet_host_guest_config(const xennet_host *host,
                                       const char *vif,
                                       size_t vif_len,
                                       const char *wish,
                                       size_t wish_len,
                                       const char *format,
                                       size_t format_len,
                                       xennet_text **document);

/**
 * Makes a MAC address for a guest.
 *
 * \param scheme "libxl", "xen24", "local" (drawn anew each time), "uuid" or "xapi" (always the same of the same seed and index).
 * \param scheme_len Its length in bytes.
 * \param seed The domain's UUID, of "uuid" and "xapi"; NULL for none.
 * \param seed_len Its length in bytes.
 * \param devid The vif's index in the domain, 0 to 65535.
 * \param mac Gets the address as text, for example "00:16:3e:01:02:03".
 * \return NULL on success; else `XENNET_KIND_INVALID`; `XENNET_KIND_IO` where the kernel gives no random numbers.
 */
xennet_error *xennet_mac_generate(const char *scheme,
                                  size_t scheme_len,
                                  const char *seed,
                                  size_t seed_len,
                                  uint32_t devid,
                                  xennet_text **mac);

/**
 * Says which of the three modes fits a situation, why, and what follows from it. Uses its arguments alone.
 *
 * \param answers A JSON document with the answers that are known, each by its question's name, as of `xennet_advise_question`: `{"lan": "yes",
 *   "addresses": "own", "reachable": "no", "subnet": ["10.0.0.0/24"]}`. Of "subnet" there may be a list.
 * \param answers_len Its length in bytes.
 * \param document Gets a JSON document: `{"network": {...}, "reasons": [], "elsewhere": [], "vif", "text"}`: the network, why, what is to be done
 *   elsewhere, the vif line of a first guest, and the text of `networks.toml`.
 * \return NULL on success; else `XENNET_KIND_INVALID` for an answer that is none, and for a situation of which too little is known.
 */
xennet_error *xennet_advise(const char *answers,
                            size_t answers_len,
                            xennet_text **document);

/**
 * The next question that matters for a situation, for a program that asks.
 *
 * \param answers As of `xennet_advise`. A question that was asked has an answer, which may be empty where it has no words for answers.
 * \param answers_len Its length in bytes.
 * \param document Gets a JSON document: `{"name": "lan", "text", "answers": ["yes", "no"]}`; `answers` is empty where the answer is a name or an
 *   address. NULL if nothing more has to be known.
 * \return NULL on success; else `XENNET_KIND_INVALID` for an answer that is none.
 */
xennet_error *xennet_advise_question(const char *answers,
                                     size_t answers_len,
                                     xennet_text **document);

/**
 * What makes other programs that manage links leave those of guests alone: a file for each program.
 *
 * \param links A JSON document, the list of the links' names besides vifs and taps: bridges, and vifs that have names of their own: `["xenbr0"]`.
 *   NULL for none.
 * \param links_len Its length in bytes.
 * \param document Gets a JSON document: `{"snippets": [{"manager", "path", "text", "command", "names"}]}`.
 * \return NULL on success; else `XENNET_KIND_INVALID` for a name that means something in one of the files.
 */
xennet_error *xennet_snippets(const char *links,
                              size_t links_len,
                              xennet_text **document);

/**
 * The programs that run on this system and would take some of these links: by what all of their files say.
 *
 * \param links As of `xennet_snippets`.
 * \param links_len Its length in bytes.
 * \param document Gets a JSON document: `{"running": ["docker"], "warnings": [{"manager", "message", "command"}]}`.
 * \return NULL on success; else an error as of `xennet_snippets`; `XENNET_KIND_IO` for a file that is there and cannot be read.
 */
xennet_error *xennet_managers(const char *links,
                              size_t links_len,
                              xennet_text **document);

/**
 * Records all that can be seen of a host: links, addresses, routes, settings, nft tables, the records of xennet, what xenstore says of vifs,
 * the networks file, and other programs' files. Changes nothing. Its cost grows with the host.
 *
 * \param host The host.
 * \param file The path of the file with the descriptions of networks; NULL for "/etc/xennet/networks.toml".
 * \param file_len Its length in bytes.
 * \param flags 0, or `XENNET_RECORD_ANONYMOUS`.
 * \param document Gets the recording, a JSON document, as `xennet record` writes it: `{"version": 1, "taken", "snapshot", ...}`. What could not
 *   be looked at stands in it, in `unseen`.
 * \return NULL on success.
 */
xennet_error *xennet_host_record(const xennet_host *host,
                                 const char *file,
                                 size_t file_len,
                                 uint32_t flags,
                                 xennet_text **document);

/**
 * Says what is wrong with a recorded host, and what mends it. Uses its arguments alone; nothing on this host is read.
 *
 * \param recording A JSON document of `xennet_host_record` or `xennet record`.
 * \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
 * \param document Gets a JSON document: `{"version": 1, "findings": [{"code", "level", "object", "title", "cause", "evidence", "fix"}]}`, the
 *   worst finding first. `level` is "error", "warning" or "note"; `evidence` has the facts that were observed; `fix` is null, or
 *   `{"command", "plan"}`, where `plan` is null, or a plan for `xennet_host_apply_json`. `xennet_doctor_codes` has all codes.
 * \return NULL on success; `XENNET_KIND_INVALID` for a text that is no recording, or one of another version.
 */
xennet_error *xennet_doctor(const char *recording,
                            size_t recording_len,
                            xennet_text **document);

/**
 * All kinds of findings.
 *
 * \param document Gets a JSON document: `{"version": 1, "codes": [{"code", "name", "level", "title", "meaning"}]}`, in the order of the codes. A
 *   code is never given to another kind. `enum xennet_finding` has their numbers.
 * \return NULL on success.
 */
xennet_error *xennet_doctor_codes(xennet_text **document);

/**
 * Says what happens to a packet on a recorded host, hop by hop, and to its answer. Uses its arguments alone; nothing is sent, and nothing
 * on this host is read.
 *
 * \param recording A JSON document of `xennet_host_record` or `xennet record`.
 * \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
 * \param from Who sends: a domain's name, a domain id, a vif ("vif5.0"), "dom0", "outside" or an IP address.
 * \param from_len Its length in bytes.
 * \param to To whom, in the same words.
 * \param to_len Its length in bytes.
 * \param protocol "tcp", "udp" or "icmp"; NULL for any, as long as it makes no difference.
 * \param protocol_len Its length in bytes.
 * \param port The port that it is sent to, 1 to 65535; 0 for any, as long as it makes no difference.
 * \param document Gets a JSON document: `{"version": 1, "verdict", "where", "why", "source_seen", "hops": [{"direction", "stage", "at",
 *   "text", "detail"}]}`. `verdict` is "delivered", "dropped" or "unknown"; `where` is what decided (a rule, a route, a link, a setting) or
 *   null; `why` the reason in words; `source_seen` the source address that the receiver sees, or null; `direction` is "there" or "back".
 * \return NULL on success; `XENNET_KIND_CONFLICT` for a question that has two meanings on that host, which the message names, and for one
 *   without a protocol or port where a rule depends on it; `XENNET_KIND_LINK_NOT_FOUND` for a domain or vif that is not there;
 *   `XENNET_KIND_INVALID` for another text that cannot be used.
 */
xennet_error *xennet_trace(const char *recording,
                           size_t recording_len,
                           const char *from,
                           size_t from_len,
                           const char *to,
                           size_t to_len,
                           const char *protocol,
                           size_t protocol_len,
                           uint32_t port,
                           xennet_text **document);

/**
 * Gives the JSON schema (draft 2020-12) of a document that functions of this header give or take, or the list of all documents.
 *
 * A document says its version in its member `version`. Another member of it makes no new version: a reader ignores what it does not know.
 * What is given to a function may leave the version out; one of another version is refused.
 *
 * \param name The document's name: "plan", "show", "error"; NULL for the list.
 * \param name_len Its length in bytes; 0 for the list.
 * \param schema Gets the schema with all that it refers to; of the list `{"version": 1, "schemas": [{"name", "version", "what"}]}`.
 * \return NULL on success; else `XENNET_KIND_INVALID` for a name that no document has.
 */
xennet_error *xennet_schema(const char *name,
                            size_t name_len,
                            xennet_text **schema);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* XENNET_H */
