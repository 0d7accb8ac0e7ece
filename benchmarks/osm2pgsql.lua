-- The POIs of an extract, as osm2pgsql's flex output loads them: tags and geometry, areas for closed
-- ways and for multipolygons. The two tables that select stand above; they are written from
-- ingestion_pipeline/osm/selection.py.

local poi = osm2pgsql.define_table{
    name = 'poi',
    ids = { type = 'any', id_column = 'osm_id', type_column = 'osm_type' },
    columns = {
        { column = 'tags', type = 'jsonb' },
        { column = 'geom', type = 'geometry', projection = 4326 },
    },
}

local function selected(tags)
    for key, value in pairs(tags) do
        if any_value[key] or pairs_[key .. '=' .. value] then
            return true
        end
    end
    return false
end

function osm2pgsql.process_node(object)
    if selected(object.tags) then
        poi:insert{ tags = object.tags, geom = object:as_point() }
    end
end

function osm2pgsql.process_way(object)
    if selected(object.tags) then
        local geom = object.is_closed and object:as_polygon() or object:as_linestring()
        poi:insert{ tags = object.tags, geom = geom }
    end
end

function osm2pgsql.process_relation(object)
    if selected(object.tags) then
        local kind = object.tags.type
        local area = kind == 'multipolygon' or kind == 'boundary'
        local geom = area and object:as_multipolygon() or object:as_geometrycollection()
        poi:insert{ tags = object.tags, geom = geom }
    end
end
