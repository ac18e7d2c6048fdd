// A disk that forgets, preloaded under a program with LD_PRELOAD.
//
// Beside each file of the folder LOSSY_FOLDER it keeps, in the folder LOSSY_SYNCED, what the program
// has synced of it, so that a test can kill the program and put together what a power failure would
// have left: of everything written since the last sync any part, or nothing. Names (creating,
// renaming, deleting) are durable at once, and memory maps aren't watched.
//
// LOSSY_LIES=1: a sync answers well and keeps nothing, as a broken disk does.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 65536

struct range { off_t start, end; };

struct file {
    char name[256];
    struct range *ranges;
    size_t count, capacity;
    struct file *next;
};

static char folder[PATH_MAX], synced[PATH_MAX];
static size_t folder_length;
static int lies;
static struct file *files, *descriptors[MOST_DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *from = getenv("LOSSY_FOLDER"), *to = getenv("LOSSY_SYNCED");
    if (!from || !to || !realpath(from, folder) || !realpath(to, synced)) return;
    folder_length = strlen(folder);
    lies = getenv("LOSSY_LIES") != NULL;
}

static void fatal(const char *what) {
    dprintf(2, "lossy disk: %s: %s\n", what, strerror(errno));
    abort();
}

// The part of a path below the folder, or NULL.
static const char *below(const char *path) {
    if (!folder_length || strncmp(path, folder, folder_length) || path[folder_length] != '/')
        return NULL;
    return path + folder_length + 1;
}

static void synced_path(char *path, const char *name) {
    if (snprintf(path, PATH_MAX, "%s/%s", synced, name) >= PATH_MAX) fatal("a long name");
    for (char *slash = path + strlen(synced) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        if (mkdir(path, 0700) && errno != EEXIST) fatal(path);
    }
}

static struct file *find(const char *name) {
    for (struct file *file = files; file; file = file->next)
        if (!strcmp(file->name, name)) return file;
    return NULL;
}

static void opened(int descriptor, int flags) {
    if (descriptor < 0 || descriptor >= MOST_DESCRIPTORS || !folder_length) return;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    struct stat state;
    if (length < 0 || fstat(descriptor, &state) || !S_ISREG(state.st_mode)) return;
    path[length] = 0;
    const char *name = below(path);
    if (!name || strlen(name) >= sizeof files->name) return;
    pthread_mutex_lock(&lock);
    struct file *file = find(name);
    if (!file) {
        if (!(file = calloc(1, sizeof *file))) fatal("memory");
        strcpy(file->name, name);
        file->next = files;
        files = file;
    }
    descriptors[descriptor] = file;
    if (flags & O_CREAT) {
        char copy[PATH_MAX];
        synced_path(copy, name);
        int made = REAL(open)(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (made < 0) fatal(copy);
        REAL(close)(made);
    }
    pthread_mutex_unlock(&lock);
}

static struct file *watched(int descriptor) {
    return descriptor >= 0 && descriptor < MOST_DESCRIPTORS ? descriptors[descriptor] : NULL;
}

static void wrote(int descriptor, off_t start, ssize_t count) {
    struct file *file = watched(descriptor);
    if (!file || count <= 0) return;
    pthread_mutex_lock(&lock);
    struct range *last = file->count ? &file->ranges[file->count - 1] : NULL;
    if (last && last->end == start) {
        last->end = start + count;
    } else {
        if (file->count == file->capacity) {
            file->capacity = file->capacity ? 2 * file->capacity : 64;
            file->ranges = realloc(file->ranges, file->capacity * sizeof *file->ranges);
            if (!file->ranges) fatal("memory");
        }
        file->ranges[file->count++] = (struct range){ start, start + count };
    }
    pthread_mutex_unlock(&lock);
}

static void copy_range(int from, int to, struct range range) {
    char buffer[1 << 16];
    while (range.start < range.end) {
        size_t most = (size_t)(range.end - range.start);
        if (most > sizeof buffer) most = sizeof buffer;
        ssize_t count = REAL(pread)(from, buffer, most, range.start);
        if (count < 0) fatal("reading");
        if (!count) return;  // cut off since
        if (REAL(pwrite)(to, buffer, (size_t)count, range.start) != count) fatal("keeping");
        range.start += count;
    }
}

static int sync_file(int descriptor) {
    struct file *file = watched(descriptor);
    char path[PATH_MAX];
    struct stat state;
    if (lies) return 0;
    pthread_mutex_lock(&lock);
    if (!file->name[0]) {  // deleted or replaced
        pthread_mutex_unlock(&lock);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int from = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    synced_path(path, file->name);
    int to = REAL(open)(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) fatal(path);
    for (size_t index = 0; index < file->count; index++)
        copy_range(from, to, file->ranges[index]);
    file->count = 0;
    if (fstat(from, &state) || REAL(ftruncate)(to, state.st_size)) fatal("cutting");
    REAL(close)(from);
    REAL(close)(to);
    pthread_mutex_unlock(&lock);
    return 0;
}

// What programs call.

static int mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0;
}

#define OPEN(name)                                                    \
    int name(const char *path, int flags, ...) {                      \
        va_list arguments;                                            \
        va_start(arguments, flags);                                   \
        int mode = mode_of(flags, arguments);                         \
        va_end(arguments);                                            \
        int descriptor = REAL(name)(path, flags, mode);               \
        opened(descriptor, flags);                                    \
        return descriptor;                                            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                  \
    int name(int at, const char *path, int flags, ...) {              \
        va_list arguments;                                            \
        va_start(arguments, flags);                                   \
        int mode = mode_of(flags, arguments);                         \
        va_end(arguments);                                            \
        int descriptor = REAL(name)(at, path, flags, mode);           \
        opened(descriptor, flags);                                    \
        return descriptor;                                            \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int descriptor) {
    if (watched(descriptor)) descriptors[descriptor] = NULL;
    return REAL(close)(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    ssize_t written = REAL(write)(descriptor, bytes, count);
    if (watched(descriptor) && written > 0)
        wrote(descriptor, lseek(descriptor, 0, SEEK_CUR) - written, written);
    return written;
}

#define PWRITE(name, offset_type)                                                          \
    ssize_t name(int descriptor, const void *bytes, size_t count, offset_type start) {     \
        ssize_t written = REAL(name)(descriptor, bytes, count, start);                     \
        wrote(descriptor, start, written);                                                 \
        return written;                                                                    \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    ssize_t written = REAL(writev)(descriptor, parts, count);
    if (watched(descriptor) && written > 0)
        wrote(descriptor, lseek(descriptor, 0, SEEK_CUR) - written, written);
    return written;
}

int fsync(int descriptor) {
    return watched(descriptor) ? sync_file(descriptor) : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    return watched(descriptor) ? sync_file(descriptor) : REAL(fdatasync)(descriptor);
}

// A file's place in the folder for a path as programs give it, or NULL.
static const char *place(const char *path, char *full) {
    char parent[PATH_MAX];
    if (!folder_length || strlen(path) >= sizeof parent) return NULL;
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    const char *base = slash ? slash + 1 : parent;
    char name[NAME_MAX + 1];
    if (strlen(base) > NAME_MAX) return NULL;
    strcpy(name, base);
    if (slash) *slash = 0;
    if (!realpath(slash ? (*parent ? parent : "/") : ".", full)) return NULL;
    if (strlen(full) + 1 + strlen(name) >= PATH_MAX) return NULL;
    strcat(strcat(full, "/"), name);
    return below(full);
}

int unlink(const char *path) {
    char full[PATH_MAX], copy[PATH_MAX];
    const char *name = place(path, full);
    int result = REAL(unlink)(path);
    if (!result && name) {
        pthread_mutex_lock(&lock);
        struct file *file = find(name);
        if (file) file->name[0] = 0;  // who still writes to it writes to nothing
        synced_path(copy, name);
        REAL(unlink)(copy);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int rename(const char *from, const char *to) {
    char full_from[PATH_MAX], full_to[PATH_MAX], copy_from[PATH_MAX], copy_to[PATH_MAX];
    const char *old = place(from, full_from), *new = place(to, full_to);
    int result = REAL(rename)(from, to);
    if (!result && old && new) {
        pthread_mutex_lock(&lock);
        struct file *replaced = find(new), *file = find(old);
        if (replaced) replaced->name[0] = 0;
        if (file && strlen(new) < sizeof file->name) strcpy(file->name, new);
        synced_path(copy_from, old);
        synced_path(copy_to, new);
        REAL(rename)(copy_from, copy_to);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
