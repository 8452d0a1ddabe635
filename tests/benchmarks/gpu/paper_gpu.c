/* A GPU of paper: what libcuda and NVML would answer, its memory being this process's. Refuses a wrong context or stream. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTEXT ((void *)0x11)
#define STREAM ((void *)0x22)
#define HANDLE ((void *)0x33)
#define TOTAL ((size_t)8 << 30)

static void *current;
static size_t used, filled;

static int asked(const char *name, int otherwise)
{
	const char *value = getenv(name);
	return value ? atoi(value) : otherwise;
}

static int bad(void *stream) { return current != CONTEXT ? 201 : stream && stream != STREAM ? 400 : 0; }

int cuInit(unsigned flags) { return flags ? 1 : asked("PAPER_GPU_INIT", 0); }
int cuGetErrorName(int code, const char **name)
{
	*name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 201 ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR_UNKNOWN";
	return 0;
}
int cuDeviceGetCount(int *count) { *count = asked("PAPER_GPUS", 1); return 0; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 40 ? "Paper GPU" : "?", size); return 0; }
int cuDeviceGetPCIBusId(char *name, int size, int device) { (void)device; strncpy(name, "0000:01:00.0", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = TOTAL; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
	(void)device;
	*value = attribute == 16 ? 7 : attribute == 38 ? 1 << 20 : attribute == 75 ? 9 : attribute == 76 ? 0 : -1;
	return *value < 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = CONTEXT; return 0; }
int cuCtxSetCurrent(void *context) { current = context; return context != CONTEXT; }
int cuMemGetInfo_v2(size_t *free_, size_t *total) { *free_ = TOTAL - used; *total = TOTAL; return bad(0); }

int cuMemAlloc_v2(uint64_t *address, size_t size)
{
	size_t *block = malloc(size + 64);
	if (bad(0) || !block)
		return 2;
	*block = size;
	used += size;
	*address = (uint64_t)(uintptr_t)block + 64;
	return 0;
}
int cuMemFree_v2(uint64_t address)
{
	size_t *block = (size_t *)(uintptr_t)(address - 64);
	used -= *block;
	free(block);
	return 0;
}
static int copy(uint64_t to, uint64_t from, size_t size, void *stream)
{
	if (!bad(stream))
		memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
	return bad(stream);
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, void *stream)
{
	filled += size;
	if (!bad(stream))
		memset((void *)(uintptr_t)to, value, size);
	return bad(stream);
}
int cuMemcpyHtoDAsync_v2(uint64_t to, void *from, size_t size, void *s) { return copy(to, (uintptr_t)from, size, s); }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *s) { return copy((uintptr_t)to, from, size, s); }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *s) { return copy(to, from, size, s); }
size_t paper_filled(void) { return filled; }

int cuStreamCreate(void **stream, unsigned flags) { *stream = STREAM; return flags != 1; }
int cuStreamSynchronize(void *stream) { return bad(stream); }
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(struct timespec)); return (int)flags; }
int cuEventRecord(void *event, void *stream) { clock_gettime(CLOCK_MONOTONIC, event); return bad(stream); }
int cuEventSynchronize(void *event) { return !event; }
int cuEventElapsedTime(float *ms, struct timespec *start, struct timespec *end)
{
	*ms = (end->tv_sec - start->tv_sec) * 1e3f + (end->tv_nsec - start->tv_nsec) * 1e-6f;
	return 0;
}

int nvmlInit_v2(void) { return asked("PAPER_NVML_INIT", 0); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **handle) { *handle = HANDLE; return strcmp(pci, "0000:01:00.0"); }
int nvmlSystemGetDriverVersion(char *version, unsigned size) { strncpy(version, "580.1", size); return 0; }
int nvmlDeviceGetMaxClockInfo(void *gpu, int kind, unsigned *mhz) { *mhz = kind == 1 ? 1980 : 3201; return gpu != HANDLE; }
int nvmlDeviceGetClockInfo(void *gpu, int kind, unsigned *mhz) { *mhz = kind == 1 ? 345 : 3201; return gpu != HANDLE; }
int nvmlDeviceGetEnforcedPowerLimit(void *gpu, unsigned *mw) { *mw = 700000; return gpu != HANDLE; }
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *mw) { *mw = 71500; return gpu != HANDLE; }
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned *c) { *c = 31; return gpu != HANDLE || sensor; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *gpu, unsigned long long *bits) { *bits = 0x24; return gpu != HANDLE; }
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *mj)
{
	*mj = 12345678901ull;
	return asked("PAPER_NVML_ENERGY", 0) || gpu != HANDLE;
}
