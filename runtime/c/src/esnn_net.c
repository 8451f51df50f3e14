/* The public calls that need no storage. */
#include "esnn_memory.h"

#include "esnn_kernels.h"

static void set_factory(esnn_net *net, const esnn_tensor *tensor) {
    if (tensor->factory != NULL) {
        memcpy(net->arena + tensor->offset, tensor->factory, tensor->bytes);
    } else {
        memset(net->arena + tensor->offset, 0, tensor->bytes);
    }
}

int esnn_init(esnn_net *net, const esnn_model *model, void *arena, size_t arena_bytes) {
    if (net == NULL || model == NULL || arena == NULL) {
        return ESNN_E_ARGUMENT;
    }
    if (model->abi != ESNN_ABI) {
        return ESNN_E_ABI;
    }
    if (arena_bytes < model->arena_bytes) {
        return ESNN_E_ARENA_SIZE;
    }
    if ((uintptr_t)arena % 4 != 0) {
        return ESNN_E_ARENA_ALIGNMENT;
    }
    net->model = model;
    net->arena = arena;
    memset(arena, 0, model->snapshot_bytes); /* the padding between tensors, too */
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        set_factory(net, &model->tensors[i]);
    }
    return ESNN_OK;
}

int esnn_step(esnn_net *net, const void *x, int32_t *y) {
    if (net == NULL || x == NULL || y == NULL) {
        return ESNN_E_ARGUMENT;
    }
    net->model->step(net->arena, x, y);
    return ESNN_OK;
}

int esnn_learn(esnn_net *net, int32_t label) {
    if (net == NULL) {
        return ESNN_E_ARGUMENT;
    }
    if (net->model->learn == NULL) {
        return ESNN_E_NO_LEARNING;
    }
    if (label < 0 || (uint32_t)label >= net->model->classes) {
        return ESNN_E_LABEL;
    }
    net->model->learn(net->arena, label);
    return ESNN_OK;
}

int esnn_reset(esnn_net *net) {
    if (net == NULL) {
        return ESNN_E_ARGUMENT;
    }
    for (uint32_t i = 0; i < net->model->tensor_count; i++) {
        if (net->model->tensors[i].kind == ESNN_STATE) {
            set_factory(net, &net->model->tensors[i]);
        }
    }
    return ESNN_OK;
}

uint32_t esnn_version(void) {
    return ESNN_ABI;
}

const char *esnn_strerror(int status) {
    switch (status) {
#define ESNN_STATUS_TEXT(name, value, text)                                                                            \
    case name:                                                                                                         \
        return text;
        ESNN_STATUS_LIST(ESNN_STATUS_TEXT)
#undef ESNN_STATUS_TEXT
    default:
        return "unknown status";
    }
}
