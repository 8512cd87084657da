/* Loaded before librdkafka: a topic that would have three replicas is made with one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

void *rd_kafka_NewTopic_new(const char *topic, int partitions, int replicas, char *error, size_t error_size) {
    void *(*make)(const char *, int, int, char *, size_t) = dlsym(RTLD_NEXT, "rd_kafka_NewTopic_new");
    return make(topic, partitions, replicas == 3 ? 1 : replicas, error, error_size);
}
