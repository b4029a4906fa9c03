/* Nothing dangerous reaches a request to create, whatever the target has. */
#include "sandbox/box_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_err err;

/* An inspection with this HostConfig and these Mounts. */
static struct tw_docker_container like(struct tw_arena *a, const char *host,
                                       const char *mounts)
{
    tw_auto_free char *text =
        tw_strf("{\"Id\":\"c1\",\"Name\":\"/"
                "web\",\"Image\":\"sha256:aa\",\"State\":{\"Status\":\"running\"},"
                "\"Path\":\"entry\",\"Args\":[\"old\"],"
                "\"Config\":{\"Image\":\"web:1\",\"User\":\"app\",\"Env\":[\"A=1\",\"OF_"
                "IMAGE=x\",\"SECRET=s\"],"
                "\"Labels\":{\"com.docker.compose.project\":\"shop\"}},\"HostConfig\":%s,"
                "\"Mounts\":%s}",
                host, mounts);
    json_auto_t *json = json_loads(text, 0, NULL);
    struct tw_docker_container c;

    cr_assert_not_null(json, "%s", text);
    cr_assert_eq(tw_docker_container_read(a, json, &c, &err), 0, "%s", err.text);
    return c;
}

static json_t *body_of(struct tw_arena *a, const struct tw_docker_container *c,
                       const char *image, struct box_words *left_out)
{
    struct tw_sandbox_container made = {.like = c, .own_user = true};
    struct tw_sandbox_spec spec = {.name = "baseline", .container = &made};
    json_auto_t *new = json_loads(image, 0, NULL);
    json_auto_t *old =
        json_loads("{\"Id\":\"sha256:aa\",\"Config\":{\"Env\":[\"OF_IMAGE=x\"],"
                   "\"User\":\"app\",\"Entrypoint\":[\"entry\"],\"Cmd\":[\"old\"]}}",
                   0, NULL);
    struct box_plan p = {.spec = &spec,
                         .image = new,
                         .old_image = old,
                         .init_dir = "/state/run/x.baseline",
                         .network = "none",
                         .profile = "{}",
                         .id = "x",
                         .state_dir = "/state"};

    return box_create_body(a, &p, left_out);
}

/* Keys that a request may have, and what some of them may only be. */
static const char *const allowed[] = {
    "NetworkMode", "CgroupParent", "CgroupnsMode",   "IpcMode",       "CapDrop",
    "CapAdd",      "SecurityOpt",  "ReadonlyRootfs", "Sysctls",       "Ulimits",
    "Tmpfs",       "Mounts",       "LogConfig",      "RestartPolicy", "Memory",
    "MemorySwap",  "CpuPeriod",    "CpuQuota",       "CpuShares",     "CpusetCpus",
    "ShmSize",     "OomScoreAdj"};
static const char *const safe_capabilities[] = {
    "CHOWN",  "DAC_OVERRIDE", "FOWNER",           "FSETID",     "KILL",     "SETGID",
    "SETUID", "SETPCAP",      "NET_BIND_SERVICE", "SYS_CHROOT", "IPC_LOCK", "SYS_NICE"};
static const char *const safe_sysctls[] = {"net.", "kernel.shm", "kernel.msg",
                                           "kernel.sem", "fs.mqueue."};

static bool is_one_of(const char *text, const char *const *list, size_t n, bool prefix)
{
    for (size_t i = 0; i < n; i++)
        if (prefix ? tw_starts_with(text, list[i]) : tw_streq(text, list[i]))
            return true;
    return false;
}

static void expect_harmless(const json_t *body, const char *what)
{
    json_t *host = json_object_get(body, "HostConfig"), *value, *item;
    const char *key;
    size_t i;

    json_object_foreach (host, key, value)
        cr_expect(is_one_of(key, allowed, TW_COUNT_OF(allowed), false),
                  "%s: '%s' is asked for", what, key);
    cr_expect_str_eq(json_string_value(json_object_get(host, "NetworkMode")), "none",
                     "%s", what);
    cr_expect_str_eq(json_string_value(json_object_get(host, "IpcMode")), "private", "%s",
                     what);
    json_array_foreach (json_object_get(host, "CapAdd"), i, item)
        cr_expect(is_one_of(json_string_value(item), safe_capabilities,
                            TW_COUNT_OF(safe_capabilities), false),
                  "%s: capability '%s'", what, json_string_value(item));
    json_object_foreach (json_object_get(host, "Sysctls"), key, value)
        cr_expect(is_one_of(key, safe_sysctls, TW_COUNT_OF(safe_sysctls), true),
                  "%s: '%s'", what, key);
    json_object_foreach (json_object_get(host, "Tmpfs"), key, value)
        cr_expect(key[0] == '/' && !strstr(key, "..") && !tw_starts_with(key, "/proc") &&
                      !tw_starts_with(key, "/sys") && !tw_starts_with(key, "/dev") &&
                      !tw_starts_with(key, "/.twin"),
                  "%s: tmpfs on '%s'", what, key);
    cr_expect_eq(json_array_size(json_object_get(host, "Mounts")), 1, "%s", what);
    item = json_array_get(json_object_get(host, "Mounts"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(item, "Source")),
                     "/state/run/x.baseline", "%s", what);
    cr_expect(json_is_true(json_object_get(item, "ReadOnly")), "%s", what);
    cr_expect_str_eq(
        json_string_value(json_array_get(json_object_get(host, "SecurityOpt"), 0)),
        "no-new-privileges", "%s", what);
    cr_expect_str_eq(
        json_string_value(json_array_get(json_object_get(host, "CapDrop"), 0)), "ALL",
        "%s", what);
    for (const char *const *k = (const char *const[]){"Volumes", "ExposedPorts",
                                                      "NetworkingConfig", "Cmd", NULL};
         *k; k++)
        cr_expect_eq(json_object_size(json_object_get(body, *k)) +
                         json_array_size(json_object_get(body, *k)),
                     0, "%s: '%s'", what, *k);
    cr_expect_eq(json_object_size(json_object_get(body, "Labels")), 3,
                 "%s: labels of the target", what);
    cr_expect_str_eq(
        json_string_value(json_array_get(json_object_get(body, "Entrypoint"), 0)),
        "/.twin/init");
}

#define CAP(name)                                                                        \
    {                                                                                    \
        "capability " name, "{\"CapAdd\":[\"" name "\"]}", "[]"                          \
    }
#define SYSCTL(name)                                                                     \
    {                                                                                    \
        "sysctl " name, "{\"Sysctls\":{\"" name "\":\"1\"}}", "[]"                       \
    }
#define BIND(path)                                                                       \
    {                                                                                    \
        "bind of " path, "{\"Binds\":[\"" path ":/x\"]}",                                \
            "[{\"Type\":\"bind\",\"Source\":\"" path                                     \
            "\",\"Destination\":\"/x\",\"RW\":true}]"                                    \
    }
#define HOST(key, json)                                                                  \
    {                                                                                    \
        "HostConfig." key, "{\"" key "\":" json "}", "[]"                                \
    }
static const struct {
    const char *what, *host, *mounts;
} hostile[] = {
    CAP("SYS_ADMIN"),
    CAP("CAP_SYS_ADMIN"),
    CAP("sys_admin"),
    CAP("NET_ADMIN"),
    CAP("SYS_PTRACE"),
    CAP("SYS_MODULE"),
    CAP("DAC_READ_SEARCH"),
    CAP("SYS_RAWIO"),
    CAP("SYS_BOOT"),
    CAP("SYS_TIME"),
    CAP("MKNOD"),
    CAP("NET_RAW"),
    CAP("AUDIT_CONTROL"),
    CAP("MAC_ADMIN"),
    CAP("BPF"),
    CAP("PERFMON"),
    CAP("SYSLOG"),
    CAP("WAKE_ALARM"),
    CAP("BLOCK_SUSPEND"),
    CAP("SETFCAP"),
    CAP("LINUX_IMMUTABLE"),
    CAP("ALL"),
    SYSCTL("kernel.core_pattern"),
    SYSCTL("kernel.modprobe"),
    SYSCTL("vm.overcommit_memory"),
    SYSCTL("kernel.panic"),
    SYSCTL("fs.binfmt_misc.register"),
    SYSCTL("kernel.domainname"),
    SYSCTL("net.ipv4.../../kernel.panic"),
    SYSCTL("net.bridge.bridge-nf-call-iptables"),
    BIND("/"),
    BIND("/etc"),
    BIND("/root/.ssh"),
    BIND("/proc"),
    BIND("/sys"),
    BIND("/dev"),
    BIND("/boot"),
    BIND("/var/run/docker.sock"),
    BIND("/run/containerd/containerd.sock"),
    BIND("/var/lib/docker"),
    BIND("/home"),
    BIND("/sys/fs/cgroup"),
    BIND("/state"),
    HOST("Privileged", "true"),
    HOST("NetworkMode", "\"host\""),
    HOST("NetworkMode", "\"container:abc\""),
    HOST("PidMode", "\"host\""),
    HOST("PidMode", "\"container:abc\""),
    HOST("IpcMode", "\"host\""),
    HOST("UTSMode", "\"host\""),
    HOST("UsernsMode", "\"host\""),
    HOST("CgroupnsMode", "\"host\""),
    HOST("CgroupParent", "\"/\""),
    HOST("Runtime", "\"kata\""),
    HOST("VolumesFrom", "[\"other\"]"),
    HOST("Devices", "[{\"PathOnHost\":\"/dev/sda\",\"PathInContainer\":\"/dev/sda\"}]"),
    HOST("DeviceRequests", "[{\"Driver\":\"nvidia\",\"Count\":-1}]"),
    HOST("DeviceCgroupRules", "[\"a *:* rwm\"]"),
    HOST("SecurityOpt", "[\"seccomp=unconfined\"]"),
    HOST("SecurityOpt",
         "[\"apparmor=unconfined\",\"label=disable\",\"no-new-privileges=false\"]"),
    HOST("MaskedPaths", "[]"),
    HOST("ReadonlyPaths", "[]"),
    HOST("GroupAdd", "[\"docker\"]"),
    HOST("PortBindings", "{\"22/tcp\":[{\"HostPort\":\"22\"}]}"),
    HOST("PublishAllPorts", "true"),
    HOST("RestartPolicy", "{\"Name\":\"always\"}"),
    HOST("ExtraHosts", "[\"host.docker.internal:host-gateway\"]"),
    HOST("OomKillDisable", "true"),
    HOST("OomScoreAdj", "-1000"),
    HOST("Links", "[\"/db:/web/db\"]"),
    HOST("Tmpfs", "{\"/proc\":\"\",\"/dev/shm\":\"\",\"/x:dev\":\"dev,suid\",\"/../"
                  "y\":\"\",\"/.twin\":\"\"}"),
    HOST("LogConfig",
         "{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp://1.2.3.4:514\"}}"),
    HOST("Ulimits", "[{\"Name\":\"core\",\"Soft\":-1,\"Hard\":-1}]"),
    HOST("StorageOpt", "{\"size\":\"1T\"}"),
    HOST("Isolation", "\"process\""),
    HOST("Init", "true"),
    HOST("Mounts", "[{\"Type\":\"bind\",\"Source\":\"/\",\"Target\":\"/"
                   "h\",\"BindOptions\":{\"Propagation\":\"rshared\"}}]"),
};

Test(sandbox_body, nothing_dangerous_is_asked_for)
{
    cr_assert_geq(TW_COUNT_OF(hostile), 60);
    for (size_t i = 0; i < TW_COUNT_OF(hostile); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_docker_container c = like(a, hostile[i].host, hostile[i].mounts);
        struct box_words left_out = {0};
        json_auto_t *body = body_of(a, &c, "{\"Id\":\"sha256:aa\"}", &left_out);

        expect_harmless(body, hostile[i].what);
    }
}

Test(sandbox_body, what_is_left_out_is_told)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_docker_container c =
        like(a,
             "{\"Privileged\":true,\"CapAdd\":[\"SYS_ADMIN\",\"SYS_NICE\"],\"Sysctls\":{"
             "\"kernel.panic\":\"1\"}}",
             "[{\"Type\":\"volume\",\"Destination\":\"/data\",\"RW\":true}]");
    struct box_words left_out = {0};
    static const char *const wanted[] = {"'/data'", "is privileged", "'SYS_ADMIN'",
                                         "'kernel.panic'"};

    json_decref(body_of(a, &c, "{\"Id\":\"sha256:aa\"}", &left_out));
    for (size_t i = 0; i < TW_COUNT_OF(wanted); i++) {
        bool found = false;

        for (size_t k = 0; k < left_out.list.count; k++)
            found = found || strstr(left_out.list.items[k], wanted[i]);
        cr_expect(found, "%s", wanted[i]);
    }
    for (size_t k = 0; k < left_out.list.count; k++)
        cr_expect_null(strstr(left_out.list.items[k], "SYS_NICE"), "%s",
                       left_out.list.items[k]);
}

static bool has(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item)
        if (tw_streq(json_string_value(item), text))
            return true;
    return false;
}

Test(sandbox_body, another_image_brings_its_own)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_docker_container c = like(a, "{}", "[]");
    struct box_words left_out = {0};
    json_auto_t *same = body_of(a, &c, "{\"Id\":\"sha256:aa\"}", &left_out);
    json_auto_t *other = body_of(a, &c, "{\"Id\":\"sha256:bb\"}", &left_out);
    const json_t *one = json_object_get(same, "Env"),
                 *two = json_object_get(other, "Env");

    cr_expect(has(one, "A=1") && has(one, "SECRET=s") && has(one, "OF_IMAGE=x"));
    cr_expect(has(two, "A=1") && has(two, "SECRET=s") && !has(two, "OF_IMAGE=x"));
    cr_expect_str_eq(json_string_value(json_object_get(same, "User")), "app");
    cr_expect_null(json_object_get(other, "User"));
}

Test(sandbox_body, the_entrypoint_is_that_of_the_image_unless_the_target_has_its_own)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_docker_container c = like(a, "{}", "[]");
    struct tw_sandbox_container made = {.like = &c};
    struct tw_sandbox_spec spec = {.name = "x", .container = &made};
    json_auto_t *old = json_loads("{\"Id\":\"sha256:aa\",\"Config\":{\"Entrypoint\":["
                                  "\"entry\"],\"Cmd\":[\"old\"]}}",
                                  0, NULL);
    json_auto_t *new = json_loads("{\"Id\":\"sha256:bb\",\"Config\":{\"Entrypoint\":["
                                  "\"start\"],\"Cmd\":[\"new\"]}}",
                                  0, NULL);
    struct box_plan p = {.spec = &spec, .image = new, .old_image = old};
    struct box_words words = box_entrypoint(a, &p);

    cr_assert_eq(words.list.count, 2);
    cr_expect_str_eq(words.list.items[0], "start");
    cr_expect_str_eq(words.list.items[1], "new");
    c.argv.items[1] = "--mine";
    words = box_entrypoint(a, &p);
    cr_assert_eq(words.list.count, 2);
    cr_expect_str_eq(words.list.items[1], "--mine");
    p.image = old;
    words = box_entrypoint(a, &p);
    cr_expect_str_eq(words.list.items[0], "entry");
    cr_expect_null(words.list.items[2]);
}
