/* A disk that can be watched, that can lose power and that can be full, under the files of one folder.
 *
 * Loaded into the server with LD_PRELOAD. It stands between the program and the C library's file calls, and knows for every
 * file under DISK_ROOT (its shared-memory index and lock file left out) what it was when it was last synced.
 *
 *   DISK_ROOT   the folder; without it, `data` in the working folder
 *   DISK_LOSE   a file; once it is there it says "<calls> <mode> <seed>": after so many more calls that write or sync, the
 *               power fails: what was not synced is undone, all of it (mode "all") or a random choice of 4 KiB pages (mode
 *               "some"), in every file at once, and the process ends with status 9. A new file whose folder was not synced is gone
 *               (in mode "some": maybe).
 *   DISK_LIE    a file; while it is there syncs succeed and do nothing: what a test must notice.
 *   DISK_FULL   a file; while it is there the disk fails: with "full" in it writes get ENOSPC (the first of them after having
 *               written half), with "sync" in it syncs get EIO.
 *   DISK_TRACE  a file; every write, sync and every answer with an event id that leaves on a socket goes there, one line each:
 *               "write <file> <hex>", "sync <file>", "answer <event id>".
 *
 * Modelled as durable at once: removing and renaming. A sync does not reach the real disk, since no power is cut.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, BUCKETS = 4096, FDS = 65536 };

/* A page as it was at the last sync of its file. */
struct page {
    struct page *next;
    int64_t number;
    char bytes[PAGE];
};

struct file {
    struct file *next;
    char path[PATH_MAX];
    int64_t synced_size;
    int entry_unsynced; /* made since its folder was synced */
    struct page *pages[BUCKETS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct file *of_fd[FDS];
static char folder_of_fd[FDS];
static char root[PATH_MAX];
static const char *lose_path, *full_path, *lie_path;
static int trace_fd = -1;
static int64_t countdown = -1;
static int lose_some;
static uint64_t dice = 88172645463325252ull;
static int half_written;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);

static void *next_of(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        dprintf(2, "disk.c: no %s\n", name);
        abort();
    }
    return found;
}

__attribute__((constructor)) static void begin(void) {
    real_open = next_of("open64");
    real_close = next_of("close");
    real_write = next_of("write");
    real_writev = next_of("writev");
    real_pwrite = next_of("pwrite64");
    real_pwritev = next_of("pwritev64");
    real_ftruncate = next_of("ftruncate64");
    real_unlink = next_of("unlink");
    real_rename = next_of("rename");
    real_send = next_of("send");
    real_sendmsg = next_of("sendmsg");
    const char *folder = getenv("DISK_ROOT");
    char here[PATH_MAX - 8];
    if (folder)
        snprintf(root, sizeof root, "%s", folder);
    else if (getcwd(here, sizeof here))
        snprintf(root, sizeof root, "%s/data", here);
    lose_path = getenv("DISK_LOSE");
    full_path = getenv("DISK_FULL");
    lie_path = getenv("DISK_LIE");
    const char *trace = getenv("DISK_TRACE");
    if (trace) trace_fd = real_open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static uint64_t roll(void) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice;
}

/* Whether a path is one of a file that is watched. */
static int is_ours(const char *path) {
    size_t length = strlen(root), whole = strlen(path);
    if (!length || strncmp(path, root, length) || path[length] != '/') return 0;
    if (whole > 4 && !strcmp(path + whole - 4, "-shm")) return 0;
    return strcmp(path + length, "/lock") != 0;
}

static struct file *find(const char *path) {
    for (struct file *file = files; file; file = file->next)
        if (!strcmp(file->path, path)) return file;
    return NULL;
}

static void forget_pages(struct file *file) {
    for (int i = 0; i < BUCKETS; i++)
        while (file->pages[i]) {
            struct page *page = file->pages[i];
            file->pages[i] = page->next;
            free(page);
        }
}

static void remove_file(const char *path) {
    for (struct file **at = &files; *at; at = &(*at)->next)
        if (!strcmp((*at)->path, path)) {
            struct file *file = *at;
            *at = file->next;
            for (int i = 0; i < FDS; i++)
                if (of_fd[i] == file) of_fd[i] = NULL;
            forget_pages(file);
            free(file);
            return;
        }
}

static int64_t size_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : (int64_t)found.st_size;
}

/* Keeps a page as it is, unless it was kept since the last sync. */
static void keep_page(struct file *file, int fd, int64_t number) {
    struct page **bucket = &file->pages[number % BUCKETS];
    for (struct page *page = *bucket; page; page = page->next)
        if (page->number == number) return;
    struct page *page = calloc(1, sizeof *page);
    if (!page) abort();
    page->number = number;
    /* The descriptor may be open for writing alone. */
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int reading = real_open(self, O_RDONLY | O_CLOEXEC);
    if (reading >= 0) {
        size_t done = 0;
        while (done < PAGE) {
            ssize_t got = pread64(reading, page->bytes + done, PAGE - done, number * PAGE + (int64_t)done);
            if (got <= 0) break;
            done += (size_t)got;
        }
        real_close(reading);
    }
    page->next = *bucket;
    *bucket = page;
}

static void keep_range(struct file *file, int fd, int64_t offset, int64_t length) {
    if (length <= 0) return;
    for (int64_t number = offset / PAGE; number <= (offset + length - 1) / PAGE; number++) keep_page(file, fd, number);
}

static void trace_bytes(const char *what, const struct file *file, const void *bytes, size_t length) {
    if (trace_fd < 0) return;
    static const char digits[] = "0123456789abcdef";
    size_t head = strlen(file->path) + strlen(what) + 4;
    char *line = malloc(head + 2 * length + 2);
    if (!line) abort();
    size_t at = (size_t)sprintf(line, "%s %s", what, file->path);
    if (bytes) line[at++] = ' ';
    for (size_t i = 0; bytes && i < length; i++) {
        line[at++] = digits[((const unsigned char *)bytes)[i] >> 4];
        line[at++] = digits[((const unsigned char *)bytes)[i] & 15];
    }
    line[at++] = '\n';
    if (real_write(trace_fd, line, at) != (ssize_t)at) abort();
    free(line);
}

static void restore(struct file *file) {
    int fd = real_open(file->path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    int64_t target = lose_some && roll() % 2 ? size_of(fd) : file->synced_size;
    if (real_ftruncate(fd, target)) abort();
    for (int i = 0; i < BUCKETS; i++)
        for (struct page *page = file->pages[i]; page; page = page->next) {
            if (lose_some && roll() % 2) continue;
            int64_t from = page->number * PAGE, end = from + PAGE < target ? from + PAGE : target;
            if (end > from && real_pwrite(fd, page->bytes, (size_t)(end - from), from) != end - from) abort();
        }
    real_close(fd);
}

static void lose_power(void) {
    for (struct file *file = files; file; file = file->next)
        if (file->entry_unsynced && (!lose_some || roll() % 2))
            real_unlink(file->path);
        else
            restore(file);
    real_unlink(lose_path);
    DIR *folder = opendir(root);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        char path[PATH_MAX + 256];
        if (length > 4 && !strcmp(entry->d_name + length - 4, "-shm")) {
            snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
            real_unlink(path);
        }
    }
    _exit(9);
}

/* Before every call that writes or syncs. */
static void step(void) {
    if (!lose_path) return;
    if (countdown < 0) {
        int fd = real_open(lose_path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return;
        char text[128] = "";
        char mode[16] = "";
        long long calls = 0;
        unsigned long long seed = 1;
        ssize_t got = read(fd, text, sizeof text - 1);
        real_close(fd);
        if (got <= 0 || sscanf(text, "%lld %15s %llu", &calls, mode, &seed) != 3) return;
        countdown = calls;
        lose_some = !strcmp(mode, "some");
        dice ^= seed * 0x9e3779b97f4a7c15ull;
        if (!dice) dice = 1;
    }
    if (countdown-- == 0) lose_power();
}

/* What the disk says to a write of so many bytes: 0 to let it pass, else how many bytes it takes, or -1 for none. */
static ssize_t full(size_t length) {
    if (!full_path) return 0;
    int fd = real_open(full_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        half_written = 0;
        return 0;
    }
    char text[8] = "";
    ssize_t got = read(fd, text, 4);
    real_close(fd);
    if (got < 4 || strncmp(text, "full", 4)) return 0;
    if (!half_written && length > 1) {
        half_written = 1;
        return (ssize_t)(length / 2);
    }
    errno = ENOSPC;
    return -1;
}

static int sync_fails(void) {
    if (!full_path) return 0;
    int fd = real_open(full_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char text[8] = "";
    ssize_t got = read(fd, text, 4);
    real_close(fd);
    return got == 4 && !strncmp(text, "sync", 4);
}

static struct file *file_of(int fd) { return fd >= 0 && fd < FDS ? of_fd[fd] : NULL; }

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= FDS) return fd;
    char whole[PATH_MAX];
    if (!root[0] || !realpath(path, whole)) return fd;
    pthread_mutex_lock(&lock);
    of_fd[fd] = NULL;
    folder_of_fd[fd] = !strcmp(whole, root);
    if (is_ours(whole) && !(flags & O_DIRECTORY)) {
        struct file *file = find(whole);
        if (!file) {
            file = calloc(1, sizeof *file);
            if (!file) abort();
            snprintf(file->path, sizeof file->path, "%s", whole);
            file->synced_size = existed ? size_of(fd) : 0;
            file->entry_unsynced = !existed;
            file->next = files;
            files = file;
        }
        of_fd[fd] = file;
        if (flags & O_TRUNC) {
            keep_range(file, fd, 0, size_of(fd));
            if (real_ftruncate(fd, 0)) abort();
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static int do_open(const char *path, int flags, mode_t mode) {
    int existed = access(path, F_OK) == 0;
    /* Truncation is ours, so that what goes is kept. */
    int truncates = flags & O_TRUNC, under = root[0] && strstr(path, root) == path && is_ours(path);
    int fd = real_open(path, truncates && under ? flags & ~O_TRUNC : flags, mode);
    return opened(fd, path, under ? flags : flags & ~O_TRUNC, existed);
}

static int has_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (has_mode(flags)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return do_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (has_mode(flags)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return do_open(path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS) {
        pthread_mutex_lock(&lock);
        of_fd[fd] = NULL;
        folder_of_fd[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

static ssize_t write_file(struct file *file, int fd, const void *bytes, size_t length, int64_t offset, int move) {
    step();
    ssize_t takes = full(length);
    if (takes < 0) return -1;
    if (takes > 0) length = (size_t)takes;
    keep_range(file, fd, offset, (int64_t)length);
    ssize_t done = move ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, offset);
    if (done > 0) trace_bytes("write", file, bytes, (size_t)done);
    return done;
}

/* Answers with an event id, as they leave. The trace is written first: what follows it was not before the answer. */
static void answer(const struct iovec *parts, int count) {
    if (trace_fd < 0) return;
    static const char mark[] = "{\"event_id\":\"$";
    for (int i = 0; i < count; i++) {
        const char *from = parts[i].iov_base;
        const char *found = memmem(from, parts[i].iov_len, mark, sizeof mark - 1);
        if (!found) continue;
        const char *id = found + sizeof mark - 2;
        size_t left = parts[i].iov_len - (size_t)(id - from);
        if (left < 44) continue;
        char line[64];
        int length = snprintf(line, sizeof line, "answer %.44s\n", id);
        if (real_write(trace_fd, line, (size_t)length) != length) abort();
    }
}

ssize_t write(int fd, const void *bytes, size_t length) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    ssize_t done;
    if (file) {
        done = write_file(file, fd, bytes, length, lseek64(fd, 0, SEEK_CUR), 1);
        pthread_mutex_unlock(&lock);
        return done;
    }
    struct iovec part = {(void *)bytes, length};
    if (fd != trace_fd) answer(&part, 1);
    pthread_mutex_unlock(&lock);
    return real_write(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file && count > 0) {
        ssize_t done = write_file(file, fd, parts[0].iov_base, parts[0].iov_len, lseek64(fd, 0, SEEK_CUR), 1);
        pthread_mutex_unlock(&lock);
        return done;
    }
    answer(parts, count);
    pthread_mutex_unlock(&lock);
    return real_writev(fd, parts, count);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    struct iovec part = {(void *)bytes, length};
    pthread_mutex_lock(&lock);
    answer(&part, 1);
    pthread_mutex_unlock(&lock);
    return real_send(fd, bytes, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    pthread_mutex_lock(&lock);
    answer(message->msg_iov, (int)message->msg_iovlen);
    pthread_mutex_unlock(&lock);
    return real_sendmsg(fd, message, flags);
}

static ssize_t do_pwrite(int fd, const void *bytes, size_t length, int64_t offset) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    ssize_t done = file ? write_file(file, fd, bytes, length, offset, 0) : real_pwrite(fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return do_pwrite(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return do_pwrite(fd, bytes, length, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    /* A short write is allowed, and its caller goes on with the rest. */
    ssize_t done = file && count > 0 ? write_file(file, fd, parts[0].iov_base, parts[0].iov_len, offset, 0)
                                     : real_pwritev(fd, parts, count, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

static int do_ftruncate(int fd, int64_t length) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    int done;
    if (file) {
        step();
        int64_t size = size_of(fd);
        if (length > size && full(1) < 0) {
            pthread_mutex_unlock(&lock);
            return -1;
        }
        keep_range(file, fd, length, size - length);
    }
    done = real_ftruncate(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return do_ftruncate(fd, length); }
int ftruncate64(int fd, off64_t length) { return do_ftruncate(fd, length); }

static int do_sync(int fd, long number) {
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    int folder = fd >= 0 && fd < FDS && folder_of_fd[fd];
    if (!file && !folder) {
        pthread_mutex_unlock(&lock);
        return (int)syscall(number, fd);
    }
    step();
    if (sync_fails()) {
        pthread_mutex_unlock(&lock);
        errno = EIO;
        return -1;
    }
    if (lie_path && !access(lie_path, F_OK)) {
        /* Nothing is kept. */
    } else if (file) {
        forget_pages(file);
        file->synced_size = size_of(fd);
        trace_bytes("sync", file, NULL, 0);
    } else {
        for (struct file *each = files; each; each = each->next) each->entry_unsynced = 0;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

int unlink(const char *path) {
    char whole[PATH_MAX];
    int ours = root[0] && realpath(path, whole) && is_ours(whole);
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    if (ours && !done) remove_file(whole);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    char whole[PATH_MAX], target[PATH_MAX];
    int ours = root[0] && realpath(from, whole) && is_ours(whole);
    pthread_mutex_lock(&lock);
    int done = real_rename(from, to);
    if (ours && !done && realpath(to, target)) {
        remove_file(target);
        struct file *file = find(whole);
        if (file) snprintf(file->path, sizeof file->path, "%s", target);
    }
    pthread_mutex_unlock(&lock);
    return done;
}
